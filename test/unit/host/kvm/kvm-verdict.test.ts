import { expect, test } from 'vitest'
import { judgeKvmProbe } from '../../../../src/host/kvm/kvm-verdict.js'
import type { ProbeOutcome } from '../../../../src/host/kvm/probe.js'

const TCG = { passed: true, loopMs: 2.2 }
const FIX =
  "Set `accel: 'tcg'`, or use a host with hardware virtualization (in a cloud: another machine type)."

function outcome(fields: Partial<ProbeOutcome>): ProbeOutcome {
  return { end: 'exited', stages: '', stderr: '', exit: 'SIGKILL', ...fields }
}

test('KVM works when the probe passes at the speed of hardware', () => {
  const kvm = outcome({ end: 'passed', stages: 'rplcxem', loopMs: 0.27 })
  expect(judgeKvmProbe(kvm, TCG, 1500)).toEqual({ works: true, loopMs: 0.27 })
  expect(judgeKvmProbe(kvm, { passed: false, loopMs: undefined }, 1500).works).toBe(true)
})

test('KVM that is barely faster than TCG is reported as emulated', () => {
  const kvm = outcome({ end: 'passed', stages: 'rplcxem', loopMs: 1.9 })
  expect(judgeKvmProbe(kvm, TCG, 1500)).toEqual({
    works: false,
    lasting: true,
    reason: 'KVM is itself emulated: a loop takes 1.90 ms with KVM and 2.20 ms with TCG',
    fix: FIX,
  })
})

test.each([
  [
    'a KVM internal error is reported with the failed step',
    outcome({
      stages: 'rpl',
      stderr:
        'KVM internal error. Suberror: 1\nextra data[0]: 0x0000000000000001\nemulation failure\nRAX=0\n',
    }),
    'KVM does not work: a probe guest could not run lock cmpxchg16b: KVM internal error. Suberror: 1 (emulation failure)',
  ],
  [
    'a QEMU that exits before the first instruction is quoted',
    outcome({
      exit: 'SIGABRT',
      stderr: `qemu-system-x86_64: warning: host doesn't support requested feature
qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69
qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion failed.
`,
    }),
    'KVM does not work: QEMU could not start a guest: failed to set MSR 0x10a to 0x69 (SIGABRT)',
  ],
  [
    'a triple fault is reported',
    outcome({ stages: 'rplc', exit: 'exit code 0' }),
    'KVM does not work: a probe guest could not save and restore registers with xsave and xrstor: a triple fault reset the processor',
  ],
  [
    'a stuck guest is reported with the timeout',
    outcome({ end: 'stuck', stages: 'rplcxem' }),
    'KVM does not work: a probe guest could not complete a short loop within 1.5 s',
  ],
])('%s', (_title, kvm, reason) => {
  expect(judgeKvmProbe(kvm, TCG, 1500)).toEqual({ works: false, lasting: true, reason, fix: FIX })
})

test('a probe that is also stuck under TCG has no lasting verdict', () => {
  const verdict = judgeKvmProbe(outcome({ end: 'stuck' }), { passed: false, loopMs: undefined }, 1500)
  expect(verdict).toMatchObject({ works: false, lasting: false })
})

test.each([
  [
    'ioctl(KVM_CREATE_VM) failed: 16 Device or resource busy',
    'another hypervisor uses the virtualization of this processor',
    false,
  ],
  [
    'Could not access KVM kernel module: Permission denied',
    'QEMU has no access to /dev/kvm, although this process has',
    false,
  ],
  ['qemu-system-x86_64: -accel kvm: invalid accelerator kvm', 'this QEMU is built without KVM', true],
])('the QEMU error %j is explained', (stderr, reason, lasting) => {
  const verdict = judgeKvmProbe(outcome({ stderr, exit: 'exit code 1' }), TCG, 1500)
  expect(verdict).toMatchObject({ works: false, lasting, reason })
})
