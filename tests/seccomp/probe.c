/* Makes system calls under a filter and says what came of each. Usage: probe FILTER < CALLS
 * FILTER is a file of struct sock_filter, empty for none. A line of CALLS is: GATE NUMBER ARGUMENTS...
 * with GATE 64 (syscall) or 32 (int 0x80) and six arguments; for each a line is written: the call's
 * result, or "SIGSYS". Each call has a process of its own, which ends without a system call. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long call64(long n, const long *a)
{
    long result;
    register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall" : "=a"(result)
                     : "a"(n), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static long call32(long n, const long *a)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result)
                     : "a"((int)n), "b"((int)a[0]), "c"((int)a[1]), "d"((int)a[2]), "S"((int)a[3]), "D"((int)a[4])
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}

int main(int argc, char **argv)
{
    static struct sock_filter code[4096];
    struct sock_fprog program = {0, code};
    struct rlimit none = {0, 0};
    volatile long *result = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FILE *file = argc > 1 ? fopen(argv[1], "r") : NULL;
    long gate, n, a[6];

    if (!file || result == MAP_FAILED || setrlimit(RLIMIT_CORE, &none))
        return 2;
    program.len = fread(code, sizeof(code[0]), 4096, file);
    while (scanf("%ld %ld %li %li %li %li %li %li", &gate, &n, a, a + 1, a + 2, a + 3, a + 4, a + 5) == 8) {
        int status;
        pid_t child = fork();
        if (child < 0)
            return 2;
        if (child == 0) {
            if (program.len) {
                if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
                    _exit(3);
            }
            *result = gate == 32 ? call32(n, a) : call64(n, a);
            __builtin_trap();
        }
        if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
            return 3;
        if (WTERMSIG(status) == SIGSYS)
            puts("SIGSYS");
        else
            printf("%ld\n", *result);
    }
    return 0;
}
