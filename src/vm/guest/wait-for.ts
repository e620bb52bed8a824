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
   * Maximum time to wait. In Vitest, every wait ends before its test does.
   * @default '30s', up to two minutes on a slow host
   */
  readonly timeout?: Duration | undefined
  /** First pause between two polls. The pauses grow up to one second. @default 50 ms */
  readonly interval?: Duration | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Waits of `vm.waitFor`. Each method resolves when its condition is met. The guest is polled over SSH, or through the
 * guest agent if it has no SSH.
 *
 * Each method throws {GuestError} WAIT_TIMEOUT with the last observed value when it times out, and WAIT_FAILED as soon as
 * the condition can no longer be met. GUEST_PANICKED, GUEST_STOPPED, GUEST_FAILED (an oops, an OOM kill, an emergency
 * shell) and {InfrastructureError} QEMU_DIED are thrown at once.
 */
export class WaitFor<Guest extends GuestHandle = GuestHandle> {
  readonly #vm: GuestHandle
  readonly #power: Power

  /** @internal */
  constructor(vm: Guest, power: Power) {
    this.#vm = vm
    this.#power = power
  }

  /**
   * Waits until a systemd unit is active. Rejects at once, with the unit's journal, if it failed or no job will start
   * it.
   */
  async unit(name: string, options: WaitForOptions = {}): Promise<void> {
    await this.#until(unitIsActive(name), options)
  }

  /** Waits until a file or folder exists and has the expected properties. */
  async file(path: string, options: WaitForOptions & FileExpectation = {}): Promise<void> {
    await this.#until(fileExists(path, options), options)
  }

  /** Waits until a process in the guest listens on a port. @default protocol 'tcp' */
  async port(
    port: number,
    options: WaitForOptions & { readonly protocol?: 'tcp' | 'udp' } = {},
  ): Promise<void> {
    await this.#until(portListens(port, options), options)
  }

  /** Waits until a process with this name, or with a matching command line, runs. */
  async process(wanted: string | RegExp, options: WaitForOptions = {}): Promise<readonly GuestProcess[]> {
    return this.#value(processRuns(wanted), options)
  }

  /** Waits until the serial console prints a text or a match. @default from 'start': earlier output counts */
  serial(
    pattern: string | RegExp,
    options: WaitForOptions & { readonly from?: SerialMark | 'start' | 'now' } = {},
  ): Promise<SerialMatch> {
    const { from } = options
    const since = from === 'now' ? this.#vm.serial.mark() : from
    return this.#value(serialShows(pattern, since === undefined ? {} : { from: since }), options)
  }

  /**
   * Waits until the guest has rebooted and is ready again. An earlier reboot counts if nothing has waited for it yet.
   * With `since`, a value of `vm.bootCount`, only later boots count.
   */
  async reboot(options: WaitForOptions & { readonly since?: number } = {}): Promise<void> {
    const { since = this.#power.lastReadyBoot } = options
    await this.#until(hasRebooted(since), options)
    if (this.#power.lastReadyBoot < this.#power.bootCount) await this.#power.readyAfterReset(options.signal)
  }

  /** Waits until the guest is off. An earlier shutdown counts. */
  async shutdown(
    options: WaitForOptions = {},
  ): Promise<{ readonly reason: PowerOffReason; readonly exitCode: number | undefined }> {
    await this.#until(isPoweredOff(), options)
    return this.#vm.wait()
  }

  /** Waits until a server in the guest answers. `target` is a URL, a path on guest port 80, or a guest port. */
  url(target: string | number, options: WaitForOptions & UrlExpectation = {}): Promise<UrlAnswer> {
    return this.#value(urlAnswers(target, options), options)
  }

  /** Repeats a command until it exits with `exitCode` (default 0) and prints the expected text. */
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

  /** Waits until a check of `checks`, or a function of your own, is met. */
  async check(check: CheckLike<unknown, Guest>, options: WaitForOptions = {}): Promise<void> {
    await this.#until(toCheck(check), options)
  }

  /** Waits until all checks are met at the same time. */
  async all(checks: readonly CheckLike<unknown, Guest>[], options: WaitForOptions = {}): Promise<void> {
    await this.#until(allOf(checks), options)
  }

  /** Waits until one of the checks is met, and returns its index. */
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
