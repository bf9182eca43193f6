/*
 * t_unwind: prologues and epilogues of many shapes, for the loader's unwinder: saved integer and XMM registers, large and
 * variable frames, recursion. Own declarations only.
 */
typedef long NTSTATUS;
typedef unsigned long long U64;

#define CASE __declspec(dllexport) __attribute__((noinline)) U64
#define SAVE __asm__ volatile("xorl %%ebx, %%ebx\n xorl %%esi, %%esi\n xorl %%edi, %%edi\n movq %%rbx, %%r12\n movq %%rbx, %%r13\n" \
    "movq %%rbx, %%r14\n movq %%rbx, %%r15\n xorps %%xmm6, %%xmm6\n xorps %%xmm7, %%xmm7\n xorps %%xmm12, %%xmm12\n xorps %%xmm15, %%xmm15" \
    : : : "rbx", "rsi", "rdi", "r12", "r13", "r14", "r15", "xmm6", "xmm7", "xmm12", "xmm15", "memory")

CASE Few(U64 n) { __asm__ volatile("movq $5, %%rbx" : : : "rbx"); return n + 1; }
CASE Saves(U64 n) { SAVE; return Few(n) + 1; }
CASE Large(U64 n) { volatile char room[40000]; SAVE; room[n & 7] = 1; return Saves(n) + room[n & 7]; }
CASE Variable(U64 n) { volatile char *room = __builtin_alloca(64 + n * 16); SAVE; room[n] = 1; return Large(n) + room[n]; }
CASE Recursive(U64 n) { U64 v; SAVE; v = n == 0 ? Variable(3) : Recursive(n - 1) + 1; SAVE; return v; }
CASE Nine(U64 a, U64 b, U64 c, U64 d, U64 e, U64 f, U64 g, U64 h, U64 i) { SAVE; return a + b + c + d + e + f + g + h + i; }
CASE All(U64 n) { return Recursive(n) + Nine(1, 2, 3, 4, 5, 6, 7, 8, n); }

NTSTATUS DriverEntry(void *driver, void *path) { (void)driver; (void)path; return 0; }
