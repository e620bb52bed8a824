import type { Obstacle } from './kvm-device.js'
import { failedStep, type ProbeOutcome } from './probe.js'

/** Result of the probe guest under KVM. */
export type KvmVerdict =
  | { readonly works: true; readonly loopMs: number }
  | ({
      readonly works: false
      /** False for a temporary problem, such as another hypervisor that uses the processor. */
      readonly lasting: boolean
    } & Obstacle)

/**
 * Minimum speedup over TCG. Hardware is 8 to 15 times faster than TCG; a slower "KVM" is itself
 * emulated.
 */
const MIN_SPEEDUP = 1.5

const BROKEN_FIX =
  "Set `accel: 'tcg'`, or use a host with hardware virtualization (in a cloud: another machine type)."

/** Evaluates the probe of KVM, relative to the concurrent probe of TCG. */
export function judgeKvmProbe(
  kvm: ProbeOutcome,
  tcg: { readonly passed: boolean; readonly loopMs: number | undefined },
  timeoutMs: number,
): KvmVerdict {
  if (kvm.loopMs !== undefined) {
    if (tcg.loopMs === undefined || kvm.loopMs * MIN_SPEEDUP <= tcg.loopMs) {
      return { works: true, loopMs: kvm.loopMs }
    }
    const [kvmMs, tcgMs] = [kvm.loopMs.toFixed(2), tcg.loopMs.toFixed(2)]
    return broken(`KVM is itself emulated: a loop takes ${kvmMs} ms with KVM and ${tcgMs} ms with TCG`)
  }
  if (/KVM_CREATE_VM\) failed: 16|Device or resource busy/.test(kvm.stderr)) {
    return {
      works: false,
      lasting: false,
      reason: 'another hypervisor uses the virtualization of this processor',
      fix: 'Stop the guests of the other hypervisor (VirtualBox, VMware), or unload its module.',
    }
  }
  if (/Permission denied|Operation not permitted/.test(kvm.stderr)) {
    return {
      works: false,
      lasting: false,
      reason: 'QEMU has no access to /dev/kvm, although this process has',
      fix: 'Check `dmesg` for denials of AppArmor, SELinux or a sandbox.',
    }
  }
  if (/invalid accelerator|not compiled|accelerator .*not (?:found|supported)/i.test(kvm.stderr)) {
    return {
      works: false,
      lasting: true,
      reason: 'this QEMU is built without KVM',
      fix: "Install the distribution's QEMU, or specify another binary with the option `qemu` or with WITHVM_QEMU.",
    }
  }
  const step = failedStep(kvm) ?? 'end'
  if (kvm.end === 'stuck') {
    // If TCG does not pass either, the host is too busy for a lasting verdict.
    const lasting = tcg.passed
    const reason = `a probe guest could not ${step} within ${timeoutMs / 1000} s`
    return { ...broken(`KVM does not work: ${reason}`), lasting }
  }
  const failure = kvm.stages === '' ? 'QEMU could not start a guest' : `a probe guest could not ${step}`
  return broken(`KVM does not work: ${failure}: ${describeEnd(kvm)}`)
}

function broken(reason: string): KvmVerdict & { works: false } {
  return { works: false, lasting: true, reason, fix: BROKEN_FIX }
}

function describeEnd(kvm: ProbeOutcome): string {
  const suberror = /KVM internal error\. Suberror: \d+/.exec(kvm.stderr)?.[0]
  if (suberror !== undefined) {
    return /emulation failure/.test(kvm.stderr) ? `${suberror} (emulation failure)` : suberror
  }
  const lines = kvm.stderr.split('\n').filter((line) => line.trim() !== '' && !line.includes('warning:'))
  // The first error is the cause, not an assertion after it.
  const message = lines[0]?.replace(/^\S*qemu\S*: (?:error: )?/, '')
  if (message !== undefined) return `${message} (${kvm.exit})`
  return kvm.exit === 'exit code 0' ? 'a triple fault reset the processor' : `QEMU exited (${kvm.exit})`
}
