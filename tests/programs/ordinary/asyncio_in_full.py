import asyncio, contextvars, os, signal, sys, threading
who = contextvars.ContextVar("who", default="nobody")
async def produce(queue):
    for number in range(20):
        await queue.put(number)
    await queue.put(None)
async def consume(queue):
    total = 0
    while (number := await queue.get()) is not None:
        total += number
    return total
async def child():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print(input()[::-1])", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate(b"abc\n"))[0]
async def serve(reader, writer):
    writer.write(await reader.read(100))
    writer.close()
async def main():
    loop = asyncio.get_running_loop()
    rung = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, rung.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(rung.wait(), 20)
    queue = asyncio.Queue(3)
    async with asyncio.TaskGroup() as group:
        group.create_task(produce(queue))
        total = group.create_task(consume(queue))
        children = [group.create_task(child()) for _ in range(3)]
    assert total.result() == 190 and {c.result() for c in children} == {b"cba\n"}
    who.set("somebody")
    assert await asyncio.to_thread(who.get) == "somebody"
    server = await asyncio.start_unix_server(serve, "/tmp/socket")
    reader, writer = await asyncio.open_unix_connection("/tmp/socket")
    writer.write(b"through a file")
    assert await reader.read(100) == b"through a file"
    server.close()
    try:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
        raise SystemExit("no timeout")
    except TimeoutError:
        pass
    limit = asyncio.Semaphore(2)
    async def held():
        async with limit:
            await asyncio.sleep(0)
    await asyncio.gather(*(held() for _ in range(100)))
    loop.call_soon_threadsafe(rung.clear)
    await loop.run_in_executor(None, threading.get_ident)
asyncio.run(main())
print("ok")
