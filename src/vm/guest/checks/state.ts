import { VMError } from '../../../errors.js'
import type { GuestHandle } from '../guest-handle.js'
import type { Check } from './check.js'

/**
 * Met if the guest is off. Can no longer be met after a panic or the unexpected end of QEMU.
 * @example checks.isPoweredOff()
 */
export function isPoweredOff(): Check {
  return {
    expected: 'the guest to be powered off',
    needsGuest: false,
    run: async (vm) => {
      const loss = readLoss(vm)
      const isDead = loss?.code === 'QEMU_DIED'
      if (!vm.isRunning && !isDead) return { isMet: true, received: 'powered off' }
      const never = loss === undefined ? undefined : loss.details.summary.replace(/\.$/, '')
      return { isMet: false, received: describeState(vm), never }
    },
  }
}

/**
 * Met if the guest is on, and has neither panicked nor halted.
 * @example checks.isRunning()
 */
export function isRunning(): Check {
  return {
    expected: 'the guest to be running',
    needsGuest: false,
    run: async (vm) => ({
      isMet: vm.isRunning && !vm.lost.aborted,
      received: describeState(vm),
    }),
  }
}

/**
 * Met if the guest's kernel panicked. Can no longer be met once the guest is off.
 * @example checks.hasPanicked()
 */
export function hasPanicked(): Check {
  return {
    expected: 'the guest to have panicked',
    needsGuest: false,
    run: async (vm) => {
      const isMet = readLoss(vm)?.code === 'GUEST_PANICKED'
      return { isMet, received: describeState(vm), never: vm.isRunning ? undefined : 'the guest is off' }
    },
  }
}

/**
 * Met if the guest booted again, by a reset or a start.
 * @param since value of `vm.bootCount`. @default the boot count when the last launch, vm.start(),
 *   vm.reboot() or waitFor.reboot() completed
 * @example checks.hasRebooted(vm.bootCount)
 */
export function hasRebooted(since?: number): Check {
  return {
    expected: 'the guest to have rebooted',
    needsGuest: false,
    run: async (vm) => {
      const from = since ?? vm.lastReadyBoot
      const isMet = vm.bootCount > from
      const never = vm.lost.aborted ? 'the guest is lost' : undefined
      const times = vm.bootCount - from
      const received = isMet
        ? `${times} ${times === 1 ? 'reboot' : 'reboots'}`
        : `no reboot; ${describeState(vm)}`
      return { isMet, received, never }
    },
  }
}

function readLoss(vm: GuestHandle): VMError | undefined {
  return vm.lost.aborted && vm.lost.reason instanceof VMError ? vm.lost.reason : undefined
}

function describeState(vm: GuestHandle): string {
  const loss = readLoss(vm)
  const state = vm.isRunning ? 'running' : 'powered off'
  return loss === undefined ? state : `${state}: ${loss.details.summary} (${loss.code})`
}
