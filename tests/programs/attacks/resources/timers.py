# layer: pending_signals
# record: none
# why: the kernel tells nobody that a user has as many timers as he may
import ctypes
library, timer, made = ctypes.CDLL("librt.so.1"), ctypes.c_void_p(), 0
while made < 1500 and library.timer_create(1, None, ctypes.byref(timer)) == 0:
    made += 1
# the kernel counts them against the user who started the jail as well
print("SUCCESS" if made == 1500 else "blocked", made)
