/*
 * t_gs: what drivers read without an import: the current thread, the processor number and the IRQL behind GS, CR8, the
 * shared-data page. Own declarations only.
 */
typedef long NTSTATUS;
typedef unsigned long long U64;

#define CASE __declspec(dllexport) __attribute__((noinline)) U64

CASE CurrentThread(void) { U64 v; __asm__ volatile("movq %%gs:0x188, %0" : "=r"(v)); return v; }
CASE Processor(void) { unsigned v; __asm__ volatile("movzbl %%gs:0x184, %0" : "=r"(v)); return v; }
CASE Self(void) { U64 v; __asm__ volatile("movq %%gs:0x18, %0" : "=r"(v)); return v; }
CASE Irql(void) { U64 v; __asm__ volatile("movq %%cr8, %0" : "=r"(v)); return v; }
CASE IrqlHigh(void) { register U64 v __asm__("r9"); __asm__ volatile("movq %%cr8, %0" : "=r"(v)); return v; }
CASE SetIrql(U64 to) { U64 was; __asm__ volatile("movq %%cr8, %0" : "=r"(was)); __asm__ volatile("movq %0, %%cr8" : : "r"(to)); return was; }
/* The loader cannot rewrite these two, a jump follows or jumps in behind: they trap. */
CASE IrqlLoop(U64 rounds)
{
    U64 v;
    __asm__ volatile("1: movq %%cr8, %0\n jmp 2f\n 2: decq %1\n jnz 1b" : "=&r"(v), "+r"(rounds));
    return v;
}
CASE IrqlTarget(U64 rounds)
{
    U64 v;
    __asm__ volatile("movq %%cr8, %0\n 2: decq %1\n jnz 2b" : "=&r"(v), "+r"(rounds));
    return v;
}
/* Many reads that can be rewritten, for timing. */
CASE IrqlMany(U64 rounds)
{
    U64 v = 0;
    while (rounds--) __asm__ volatile("movq %%cr8, %0\n addq $0, %0" : "=r"(v));
    return v;
}
CASE SystemTime(void) { return *(volatile U64 *)0xfffff78000000014ull; }
CASE TickCount(void) { return *(volatile U64 *)0xfffff78000000320ull; }

NTSTATUS DriverEntry(void *driver, void *path) { (void)driver; (void)path; return 0; }
