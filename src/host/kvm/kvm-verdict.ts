import type { Obstacle } from './kvm-device.js'
import { failedStep, type ProbeOutcome } from './probe.js'

/** What a probe guest under KVM has shown. */
export type KvmVerdict =
  | { readonly works: true; readonly loopMs: number }
  | ({
      readonly works: false
      /** False for what may be over a moment later, as another hypervisor that uses the processor. */
      readonly lasting: boolean
    } & Obstacle)

/**
 * Hardware runs the probe's loop 8 to 15 times faster than TCG. A "KVM" that does not reach even this is an emulator itself,
 * and a slower one than QEMU's.
 */
const LEAST_SPEED_UP = 1.5

const USELESS_FIX =
  "Run guests under TCG (accel: 'tcg'), or use a host whose KVM is backed by the processor; in a cloud, another kind of machine."

/** Judges KVM by how the probe guest ended under it, and how it went under TCG at the same time. */
export function judgeKvmProbe(
  kvm: ProbeOutcome,
  tcg: { readonly passed: boolean; readonly loopMs: number | undefined },
  timeoutMs: number,
): KvmVerdict {
  if (kvm.loopMs !== undefined) {
    if (tcg.loopMs === undefined || kvm.loopMs * LEAST_SPEED_UP <= tcg.loopMs) {
      return { works: true, loopMs: kvm.loopMs }
    }
    const [kvmMs, tcgMs] = [kvm.loopMs.toFixed(2), tcg.loopMs.toFixed(2)]
    return broken(`KVM is itself emulated: a loop takes ${kvmMs} ms under it and ${tcgMs} ms under TCG`)
  }
  if (/KVM_CREATE_VM\) failed: 16|Device or resource busy/.test(kvm.stderr)) {
    return {
      works: false,
      lasting: false,
      reason: 'another hypervisor uses the virtualisation of this processor',
      fix: 'End the guests of the other hypervisor (VirtualBox, VMware), or unload its module.',
    }
  }
  if (/Permission denied|Operation not permitted/.test(kvm.stderr)) {
    return {
      works: false,
      lasting: false,
      reason: 'QEMU may not use /dev/kvm, although this process may open it',
      fix: 'Look for what confines QEMU (AppArmor, SELinux, a sandbox): `dmesg` tells.',
    }
  }
  if (/invalid accelerator|not compiled|accelerator .*not (?:found|supported)/i.test(kvm.stderr)) {
    return {
      works: false,
      lasting: true,
      reason: 'this QEMU is built without KVM',
      fix: "Use the distribution's QEMU, or another binary with the option qemu or WITHVM_QEMU.",
    }
  }
  const step = failedStep(kvm) ?? 'end'
  if (kvm.end === 'stuck') {
    // A host on which TCG did not get through either is too busy for a verdict.
    const lasting = tcg.passed
    const reason = `a probe guest could not ${step} under it within ${timeoutMs / 1000} s`
    return { ...broken(`/dev/kvm opens, but ${reason}`), lasting }
  }
  const failure =
    kvm.stages === '' ? 'QEMU could not start a guest under it' : `a probe guest could not ${step} under it`
  return broken(`/dev/kvm opens, but ${failure}: ${describeEnd(kvm)}`)
}

function broken(reason: string): KvmVerdict & { works: false } {
  return { works: false, lasting: true, reason, fix: USELESS_FIX }
}

function describeEnd(kvm: ProbeOutcome): string {
  const suberror = /KVM internal error\. Suberror: \d+/.exec(kvm.stderr)?.[0]
  if (suberror !== undefined) {
    return /emulation failure/.test(kvm.stderr) ? `${suberror} (emulation failure)` : suberror
  }
  const lines = kvm.stderr.split('\n').filter((line) => line.trim() !== '' && !line.includes('warning:'))
  // The first error is the cause; an assertion that follows it is not.
  const said = lines[0]?.replace(/^\S*qemu\S*: (?:error: )?/, '')
  if (said !== undefined) return `${said} (${kvm.exit})`
  return kvm.exit === 'exit code 0'
    ? 'its processor reset itself (a triple fault)'
    : `QEMU ended (${kvm.exit})`
}
