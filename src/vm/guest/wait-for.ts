import type { CommandResult } from '../../channel/command-result.js'
import type { SerialMark, SerialMatch } from '../../channel/serial/serial-console.js'
import type { Calls } from '../../common/calls/calls.js'
import { traceCalls } from '../../common/calls/trace-calls.js'
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
import type { LogMessage } from './checks/log-messages.js'
import { hasLogged, type LogExpectation } from './checks/logged.js'
import { portListens } from './checks/network.js'
import { serialShows } from './checks/serial.js'
import { hasRebooted, isPoweredOff } from './checks/state.js'
import { type GuestProcess, processRuns } from './checks/system.js'
import { unitIsActive } from './checks/systemd.js'
import { type UrlAnswer, type UrlExpectation, urlAnswers } from './checks/url.js'
import { waitUntil } from './checks/wait-until.js'
import type { GuestHandle } from './guest-handle.js'

/** Options of the waits of `vm.waitFor`. */
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
 * Waits of `vm.waitFor`. Each method resolves when its condition is met. The guest is polled over
 * SSH, or through the guest agent if it has no SSH.
 *
 * WAIT_TIMEOUT contains the last observed value. Each method also throws, at once, {GuestError}
 * GUEST_PANICKED, GUEST_STOPPED, GUEST_FAILED (an oops, an OOM kill, an emergency shell) and
 * {InfrastructureError} QEMU_DIED.
 */
export class WaitFor<Guest extends GuestHandle = GuestHandle> {
  static {
    traceCalls(WaitFor, 'vm.waitFor', [
      ...(['unit', 'file', 'port', 'process', 'serial', 'reboot', 'shutdown', 'url'] as const),
      ...(['command', 'log', 'check', 'all', 'any'] as const),
    ])
  }

  /** @internal Calls of the guest that this object belongs to. */
  calls: Calls | undefined
  readonly #vm: GuestHandle
  readonly #power: Power

  /** @internal */
  constructor(vm: Guest, power: Power) {
    this.#vm = vm
    this.#power = power
  }

  /**
   * Waits until a systemd unit is active. The error contains the journal of the unit.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over; WAIT_FAILED as soon as the unit failed
   *   or does not exist, or no job will start it.
   * @example await vm.waitFor.unit('nginx')
   */
  async unit(name: string, options: WaitForOptions = {}): Promise<void> {
    await this.#until(unitIsActive(name), options)
  }

  /**
   * Waits until a file or folder exists and has the expected properties.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over.
   * @example await vm.waitFor.file('/etc/app.conf', { content: /port 80/, owner: 'root' })
   */
  async file(path: string, options: WaitForOptions & FileExpectation = {}): Promise<void> {
    await this.#until(fileExists(path, options), options)
  }

  /**
   * Waits until a process in the guest listens on a port. @default protocol 'tcp'
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over.
   * @example await vm.waitFor.port(53, { protocol: 'udp', timeout: '1m' })
   */
  async port(
    port: number,
    options: WaitForOptions & { readonly protocol?: 'tcp' | 'udp' | undefined } = {},
  ): Promise<void> {
    await this.#until(portListens(port, options), options)
  }

  /**
   * Waits until a process with this name, or with a matching command line, runs. Returns all such
   * processes.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over.
   * @example const [server] = await vm.waitFor.process('nginx')
   */
  async process(wanted: string | RegExp, options: WaitForOptions = {}): Promise<readonly GuestProcess[]> {
    return this.#value(processRuns(wanted), options)
  }

  /**
   * Waits until the serial console prints a text or a match.
   * @default from 'start': earlier output counts
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over.
   * @example const { match } = await vm.waitFor.serial(/listening on port (\d+)/)
   */
  serial(
    pattern: string | RegExp,
    options: WaitForOptions & { readonly from?: SerialMark | 'start' | 'now' | undefined } = {},
  ): Promise<SerialMatch> {
    const { from } = options
    const since = from === 'now' ? this.#vm.serial.mark() : from
    return this.#value(serialShows(pattern, since === undefined ? {} : { from: since }), options)
  }

  /**
   * Waits until the guest has logged a message that contains a string or matches a pattern, and
   * returns the message. Messages are read from the journal of this boot, or without systemd from
   * the kernel log. Earlier messages count, unless `since` or `within` is set.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over; WAIT_FAILED at once when the log
   *   cannot be read.
   * @example const { message } = await vm.waitFor.log(/listening on/, { unit: 'demo' })
   */
  log(pattern: string | RegExp, options: WaitForOptions & LogExpectation = {}): Promise<LogMessage> {
    return this.#value(hasLogged(pattern, options), options)
  }

  /**
   * Waits until the guest has rebooted and is ready again. An earlier reboot counts if nothing has
   * waited for it yet. With `since`, a value of `vm.bootCount`, only later boots count.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over; WAIT_FAILED as soon as the guest is
   *   lost; the errors of `vm.waitUntilReady()`.
   * @example
   * await vm.ssh`systemctl --no-block reboot`
   * await vm.waitFor.reboot()
   */
  async reboot(options: WaitForOptions & { readonly since?: number | undefined } = {}): Promise<void> {
    const { since = this.#power.lastReadyBoot } = options
    await this.#until(hasRebooted(since), options)
    if (this.#power.lastReadyBoot < this.#power.bootCount) await this.#power.readyAfterReset(options.signal)
  }

  /**
   * Waits until the guest is off. An earlier shutdown counts.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over; WAIT_FAILED as soon as the guest
   *   panicked or QEMU died.
   * @example
   * await vm.serial.type('poweroff\n')
   * await vm.waitFor.shutdown()
   */
  async shutdown(
    options: WaitForOptions = {},
  ): Promise<{ readonly reason: PowerOffReason; readonly exitCode: number | undefined }> {
    await this.#until(isPoweredOff(), options)
    return this.#vm.wait()
  }

  /**
   * Waits until a server in the guest answers. `target` is a URL, a path on guest port 80, or a
   * guest port.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over.
   * @throws {UsageError} INVALID_OPTIONS when `target` is invalid or its port is not forwarded.
   * @example const { body } = await vm.waitFor.url('/health', { status: 200 })
   */
  url(target: string | number, options: WaitForOptions & UrlExpectation = {}): Promise<UrlAnswer> {
    return this.#value(urlAnswers(target, options), options)
  }

  /**
   * Repeats a command until it exits with `exitCode` (default 0) and prints the expected text.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over.
   * @example await vm.waitFor.command('pg_isready', { prints: /accepting connections/ })
   */
  command(
    command: string,
    options: WaitForOptions & {
      readonly exitCode?: number | undefined
      readonly prints?: string | RegExp | undefined
    } = {},
  ): Promise<CommandResult> {
    const { exitCode = 0, prints } = options
    const check =
      prints === undefined
        ? commandFailsWith(command, exitCode)
        : commandPrints(command, prints, { exitCode })
    return this.#value(check, options)
  }

  /**
   * Waits until a check of `checks`, or a function of your own, is met.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over; WAIT_FAILED as soon as the check can
   *   no longer be met.
   * @example await vm.waitFor.check(async ({ ssh }) => (await ssh`nproc`).stdout === '2')
   */
  async check(check: CheckLike<unknown, Guest>, options: WaitForOptions = {}): Promise<void> {
    await this.#until(toCheck(check), options)
  }

  /**
   * Waits until all checks are met at the same time.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over; WAIT_FAILED as soon as one of the
   *   checks can no longer be met.
   * @example await vm.waitFor.all([checks.portListens(80), checks.isMounted('/srv')])
   */
  async all(checks: readonly CheckLike<unknown, Guest>[], options: WaitForOptions = {}): Promise<void> {
    await this.#until(allOf(checks), options)
  }

  /**
   * Waits until one of the checks is met, and returns its index.
   *
   * @throws {GuestError} WAIT_TIMEOUT when the time is over; WAIT_FAILED as soon as none of the
   *   checks can be met any longer.
   * @example await vm.waitFor.any([checks.fileExists('/run/ok'), checks.fileExists('/run/failed')])
   */
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
