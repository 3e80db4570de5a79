/* What libseccomp makes of a filter: reads lines from standard input, writes the BPF program.
 *   default ACTION NATIVE | arch TOKEN | rule ACTION NAME COUNT {INDEX OPERATOR A B}... | resolve TOKEN NAME
 * "resolve" writes the number instead of a program. Actions are the kernel's return values. */
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int rc, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-rc));
        exit(1);
    }
}

int main(void)
{
    char word[16], name[256];
    scmp_filter_ctx ctx = NULL;

    while (scanf("%15s", word) == 1) {
        uint32_t number, native;
        if (!strcmp(word, "default") && scanf("%" SCNu32 " %" SCNu32, &number, &native) == 2) {
            ctx = seccomp_init(number);
            if (native != seccomp_arch_native()) {
                check(seccomp_arch_add(ctx, native), "native");
                check(seccomp_arch_remove(ctx, seccomp_arch_native()), "native");
            }
            check(seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "badarch");
        } else if (!strcmp(word, "arch") && scanf("%" SCNu32, &number) == 1) {
            int rc = seccomp_arch_add(ctx, number);
            check(rc == -EEXIST ? 0 : rc, "arch");
        } else if (!strcmp(word, "resolve") && scanf("%" SCNu32 " %255s", &number, name) == 2) {
            printf("%d\n", seccomp_syscall_resolve_name_arch(number, name));
        } else if (!strcmp(word, "rule")) {
            struct scmp_arg_cmp args[6];
            unsigned count, i;
            if (scanf("%" SCNu32 " %255s %u", &number, name, &count) != 3 || count > 6)
                return 2;
            for (i = 0; i < count; i++) {
                unsigned op;
                if (scanf("%u %u %" SCNu64 " %" SCNu64, &args[i].arg, &op, &args[i].datum_a, &args[i].datum_b) != 4)
                    return 2;
                args[i].op = op;
            }
            int nr = seccomp_syscall_resolve_name(name);
            if (nr != __NR_SCMP_ERROR)
                check(seccomp_rule_add_array(ctx, number, nr, count, args), name);
        } else
            return 2;
    }
    if (ctx)
        check(seccomp_export_bpf(ctx, 1), "export");
    return 0;
}
