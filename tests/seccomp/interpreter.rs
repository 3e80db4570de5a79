//! A classic BPF interpreter, as seccomp uses it: only the instructions that the kernel accepts in
//! a filter, and nothing that would read outside `struct seccomp_data`.

/// What the kernel hands to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub number: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            8 | 12 => 0,
            16 | 24 | 32 | 40 | 48 | 56 => self.args[(offset as usize - 16) / 8] as u32,
            20 | 28 | 36 | 44 | 52 | 60 => (self.args[(offset as usize - 20) / 8] >> 32) as u32,
            _ => panic!("load from offset {offset}"),
        }
    }
}

/// The filter's return value for `call`, and how many instructions it took.
pub fn run(program: &[[u8; 8]], call: &Call) -> (u32, usize) {
    let mut accumulator = 0_u32;
    let mut memory = [0_u32; 16];
    let mut at = 0;
    let mut steps = 0;
    loop {
        let [c0, c1, jt, jf, k0, k1, k2, k3] = program[at];
        let code = u16::from_ne_bytes([c0, c1]);
        let k = u32::from_ne_bytes([k0, k1, k2, k3]);
        at += 1;
        steps += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => accumulator = call.word(k),
            0x60 => accumulator = memory[k as usize],
            0x02 => memory[k as usize] = accumulator,
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return (k, steps),
            _ => panic!("instruction {code:#x} at {}", at - 1),
        }
    }
}
