import asyncio, sys
async def main():
    p = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(6 * 7)", stdout=asyncio.subprocess.PIPE)
    out, _ = await p.communicate()
    assert out == b"42\n" and p.returncode == 0
    await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(50)))
asyncio.run(main())
print("ok")
