import { expect, test } from 'vitest'
import { judgeKvmProbe } from '../../../../src/host/kvm/kvm-verdict.js'
import type { ProbeOutcome } from '../../../../src/host/kvm/probe.js'

const TCG = { passed: true, loopMs: 2.2 }
const FIX =
  "Run guests under TCG (accel: 'tcg'), or use a host whose KVM is backed by the processor; in a cloud, another kind of machine."

function outcome(fields: Partial<ProbeOutcome>): ProbeOutcome {
  return { end: 'exited', stages: '', stderr: '', exit: 'SIGKILL', ...fields }
}

test('KVM works when the probe passes at the speed of hardware', () => {
  const kvm = outcome({ end: 'passed', stages: 'rplcxem', loopMs: 0.27 })
  expect(judgeKvmProbe(kvm, TCG, 1500)).toEqual({ works: true, loopMs: 0.27 })
  expect(judgeKvmProbe(kvm, { passed: false, loopMs: undefined }, 1500).works).toBe(true)
})

test('KVM that is hardly faster than TCG is emulated', () => {
  const kvm = outcome({ end: 'passed', stages: 'rplcxem', loopMs: 1.9 })
  expect(judgeKvmProbe(kvm, TCG, 1500)).toEqual({
    works: false,
    lasting: true,
    reason: 'KVM is itself emulated: a loop takes 1.90 ms under it and 2.20 ms under TCG',
    fix: FIX,
  })
})

test.each([
  [
    'KVM internal error names the step',
    outcome({
      stages: 'rpl',
      stderr:
        'KVM internal error. Suberror: 1\nextra data[0]: 0x0000000000000001\nemulation failure\nRAX=0\n',
    }),
    '/dev/kvm opens, but a probe guest could not run lock cmpxchg16b under it: KVM internal error. Suberror: 1 (emulation failure)',
  ],
  [
    'a QEMU that ends before the first instruction is quoted',
    outcome({
      exit: 'SIGABRT',
      stderr: `qemu-system-x86_64: warning: host doesn't support requested feature
qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69
qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion failed.
`,
    }),
    '/dev/kvm opens, but QEMU could not start a guest under it: failed to set MSR 0x10a to 0x69 (SIGABRT)',
  ],
  [
    'a triple fault is named',
    outcome({ stages: 'rplc', exit: 'exit code 0' }),
    '/dev/kvm opens, but a probe guest could not save and restore registers with xsave and xrstor under it: its processor reset itself (a triple fault)',
  ],
  [
    'a stuck guest is named with the time it had',
    outcome({ end: 'stuck', stages: 'rplcxem' }),
    '/dev/kvm opens, but a probe guest could not get through a short loop under it within 1.5 s',
  ],
])('%s', (_title, kvm, reason) => {
  expect(judgeKvmProbe(kvm, TCG, 1500)).toEqual({ works: false, lasting: true, reason, fix: FIX })
})

test('a probe that is stuck under TCG too is no verdict to remember', () => {
  const verdict = judgeKvmProbe(outcome({ end: 'stuck' }), { passed: false, loopMs: undefined }, 1500)
  expect(verdict).toMatchObject({ works: false, lasting: false })
})

test.each([
  [
    'ioctl(KVM_CREATE_VM) failed: 16 Device or resource busy',
    'another hypervisor uses the virtualisation of this processor',
    false,
  ],
  [
    'Could not access KVM kernel module: Permission denied',
    'QEMU may not use /dev/kvm, although this process may open it',
    false,
  ],
  ['qemu-system-x86_64: -accel kvm: invalid accelerator kvm', 'this QEMU is built without KVM', true],
])('QEMU that says %j has its own reason', (stderr, reason, lasting) => {
  const verdict = judgeKvmProbe(outcome({ stderr, exit: 'exit code 1' }), TCG, 1500)
  expect(verdict).toMatchObject({ works: false, lasting, reason })
})
