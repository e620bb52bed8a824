import type { CommandResult } from '../../channel/command-result.js'
import type { SerialMark, SerialMatch } from '../../channel/serial/serial-console.js'
import type { Duration } from '../../common/duration.js'
import { resolveDuration } from '../../common/resolve-duration.js'
import { boundWait } from '../../common/wait-limit.js'
import { defaultWaitMs } from '../machine/default-wait.js'
import type { Power } from '../power/power.js'
import type { PowerOffReason } from '../session/session.js'
import type { Check } from './checks/check.js'
import { allOf, anyOf, type CheckLike, toCheck } from './checks/combined.js'
import { commandFailsWith, commandPrints } from './checks/command.js'
import { type FileExpectation, fileExists } from './checks/file.js'
import { portListens } from './checks/network.js'
import { serialShows } from './checks/serial.js'
import { hasRebooted, isPoweredOff } from './checks/state.js'
import { type GuestProcess, processRuns } from './checks/system.js'
import { unitIsActive } from './checks/systemd.js'
import { type UrlAnswer, type UrlExpectation, urlAnswers } from './checks/url.js'
import { waitUntil } from './checks/wait-until.js'
import type { GuestHandle } from './guest-handle.js'

export interface WaitForOptions {
  /**
   * How long to wait. In Vitest, every wait ends before its test does.
   * @default '30s', on a slow host up to two minutes
   */
  readonly timeout?: Duration | undefined
  /** The first pause between two looks at the guest; each is longer than the one before, up to a second. @default 50 ms */
  readonly interval?: Duration | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * `vm.waitFor`: each resolves when it is so, and looks at the guest by its SSH connection (by its agent where there is
 * no SSH).
 *
 * Each throws {GuestError} WAIT_TIMEOUT when its time is up, with what there was instead; WAIT_FAILED as soon as it
 * cannot come any more; GUEST_PANICKED, GUEST_STOPPED, GUEST_FAILED (an oops, an OOM kill, an emergency shell) and
 * {InfrastructureError} QEMU_DIED at once.
 */
export class WaitFor<Guest extends GuestHandle = GuestHandle> {
  readonly #vm: GuestHandle
  readonly #power: Power

  constructor(vm: Guest, power: Power) {
    this.#vm = vm
    this.#power = power
  }

  /** Until a unit of systemd is active. One that failed, or that nothing will start, fails at once, with its journal. */
  async unit(name: string, options: WaitForOptions = {}): Promise<void> {
    await this.#until(unitIsActive(name), options)
  }

  /** Until a file (or folder) is there, with what is expected of it. */
  async file(path: string, options: WaitForOptions & FileExpectation = {}): Promise<void> {
    await this.#until(fileExists(path, options), options)
  }

  /** Until something in the guest listens on a port of the guest. @default protocol 'tcp' */
  async port(
    port: number,
    options: WaitForOptions & { readonly protocol?: 'tcp' | 'udp' } = {},
  ): Promise<void> {
    await this.#until(portListens(port, options), options)
  }

  /** Until a process of that name runs, or one whose command line matches. */
  async process(wanted: string | RegExp, options: WaitForOptions = {}): Promise<readonly GuestProcess[]> {
    return this.#value(processRuns(wanted), options)
  }

  /** Until the serial console shows a text or a match. @default from 'start': what came before counts */
  serial(
    pattern: string | RegExp,
    options: WaitForOptions & { readonly from?: SerialMark | 'start' | 'now' } = {},
  ): Promise<SerialMatch> {
    const { from } = options
    const since = from === 'now' ? this.#vm.serial.mark() : from
    return this.#value(serialShows(pattern, since === undefined ? {} : { from: since }), options)
  }

  /**
   * Until the guest has rebooted, by itself or by a command, and is ready again. A reboot that came before counts,
   * unless something has waited for it; or say with `since: vm.bootCount` which ones do.
   */
  async reboot(options: WaitForOptions & { readonly since?: number } = {}): Promise<void> {
    const { since = this.#power.seenBoot } = options
    await this.#until(hasRebooted(since), options)
    if (this.#power.seenBoot < this.#power.bootCount) await this.#power.readyAfterReset(options.signal)
  }

  /** Until the guest is off. A shutdown that came before counts. */
  async shutdown(
    options: WaitForOptions = {},
  ): Promise<{ readonly reason: PowerOffReason; readonly exitCode: number | undefined }> {
    await this.#until(isPoweredOff(), options)
    return this.#vm.wait()
  }

  /** Until a server of the guest answers this host: a URL, a path on the guest's port 80, or a port of the guest. */
  url(target: string | number, options: WaitForOptions & UrlExpectation = {}): Promise<UrlAnswer> {
    return this.#value(urlAnswers(target, options), options)
  }

  /** Until a command, run again and again, succeeds (or ends with `exitCode`), and prints what is expected. */
  command(
    command: string,
    options: WaitForOptions & { readonly exitCode?: number; readonly prints?: string | RegExp } = {},
  ): Promise<CommandResult> {
    const { exitCode = 0, prints } = options
    const check =
      prints === undefined
        ? commandFailsWith(command, exitCode)
        : commandPrints(command, prints, { exitCode })
    return this.#value(check, options)
  }

  /** Until a check of `checks`, or a function of your own, is met. */
  async check(check: CheckLike<unknown, Guest>, options: WaitForOptions = {}): Promise<void> {
    await this.#until(toCheck(check), options)
  }

  /** Until all of them are met at the same time. */
  async all(checks: readonly CheckLike<unknown, Guest>[], options: WaitForOptions = {}): Promise<void> {
    await this.#until(allOf(checks), options)
  }

  /** Until one of them is met. Gives its index. */
  any(checks: readonly CheckLike<unknown, Guest>[], options: WaitForOptions = {}): Promise<number> {
    return this.#value(anyOf(checks), options)
  }

  async #value<T>(check: Check<T, Guest>, options: WaitForOptions): Promise<T> {
    const { outcome } = await this.#until(check, options)
    return outcome.value as T
  }

  #until<T>(check: Check<T, Guest>, { timeout, interval, signal }: WaitForOptions) {
    const longest = resolveDuration('timeout', timeout) ?? defaultWaitMs(this.#vm)
    const { timeoutMs, hint } = boundWait(longest, this.#vm.waitLimit)
    return waitUntil(this.#vm, check, {
      timeoutMs,
      timeoutHint: hint,
      intervalMs: resolveDuration('interval', interval),
      signal,
    })
  }
}
