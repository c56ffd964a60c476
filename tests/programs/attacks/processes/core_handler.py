# layer: seccomp
# record: syscall prlimit64
import resource
# with a limit of nothing at all, the kernel starts the machine's own handler for cores, outside of the jail and as root
before = resource.getrlimit(resource.RLIMIT_CORE)
try:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (OSError, ValueError) as error:
    print("blocked" if before == (1, 1) else "SUCCESS before", before, error)
else:
    print("SUCCESS", before, resource.getrlimit(resource.RLIMIT_CORE))
