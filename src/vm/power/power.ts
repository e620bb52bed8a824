import { raceSignal, withDeadline } from '../../common/deadline.js'
import { createDeferred } from '../../common/deferred.js'
import { type Duration, formatDuration } from '../../common/duration.js'
import { resolveDuration } from '../../common/resolve-duration.js'
import { boundWait } from '../../common/wait-limit.js'
import { vmError } from '../../errors.js'
import { DEFAULTS } from '../../spec/defaults.js'
import { addEvidence, explainStart } from '../evidence/diagnostics.js'
import type { Machine } from '../machine/machine.js'
import type { PowerOffReason, Session } from '../session/session.js'
import { Checkpoints } from './checkpoints.js'
import { waitForCloudInit } from './cloud-init.js'
import { enterByConsole } from './console-login.js'
import { firstStage, waitUntilReady } from './readiness.js'
import { SshAccess } from './ssh-access.js'

/** What a guest goes through until it is ready, where that is further than its SSH server. */
const LAST_STAGES = { ssh: 'login', 'cloud-init': 'cloud-init', login: 'login' } as const

/** What the power of a guest needs from the place that made it. */
export interface PowerControls {
  /** Starts QEMU on the machine's overlay. */
  powerOn(signal: AbortSignal | undefined): Promise<Session>
  /** Throws the machine away. */
  dispose(): Promise<void>
}

export interface StartOptions {
  /** @default true: wait until the guest is ready, as when it was launched */
  readonly waitUntilReady?: boolean
  readonly signal?: AbortSignal
}

export interface StopOptions {
  /** @default 20 s on a host with KVM, stretched where it is slower */
  readonly timeout?: Duration
  readonly signal?: AbortSignal
}

/** A guest's power: which power-on it is in, and the ways from one to the next. */
export class Power {
  /** The SSH connections of the present power-on. */
  readonly access: SshAccess
  /** The newest power-on. */
  session: Session
  /** How often the machine has begun to boot. */
  bootCount = 1
  /** The newest boot that somebody saw becoming ready: a later one has not been waited for yet. */
  seenBoot = 1
  readonly #vm: unknown
  readonly #machine: Machine
  readonly #controls: PowerControls
  readonly #ending = new AbortController()
  readonly #checkpoints: Checkpoints
  #isKeyInstalled = false
  #wasReady = false
  #starting: Promise<Session> | undefined

  /** @param vm what a `ready` function of the author's is given. */
  constructor(vm: unknown, machine: Machine, controls: PowerControls, session: Session) {
    this.access = new SshAccess(machine)
    this.session = session
    this.#vm = vm
    this.#machine = machine
    this.#controls = controls
    this.#checkpoints = new Checkpoints(machine)
    this.#follow(session)
  }

  get isRunning(): boolean {
    return !this.#isDisposed && this.session.endReason === undefined
  }

  get #isDisposed(): boolean {
    return this.#ending.signal.aborted
  }

  /** The present power-on; throws why there is none. */
  requireRunning(): Session {
    if (this.#isDisposed) throw disposed()
    if (this.session.endReason !== undefined) throw this.session.watch.failure.reason
    return this.session
  }

  async reboot(options: StopOptions = {}): Promise<void> {
    const session = this.requireRunning()
    const reset = createDeferred<void>()
    const stop = session.onReset(() => reset.resolve())
    try {
      await this.#untilStateChange('reboot', options, async (signal) => {
        await this.#ask('reboot', signal)
        await reset.promise
      })
    } finally {
      stop()
    }
    session.guestResets = 0
    session.watch.restart(firstStage(this.#machine))
    await this.waitUntilReady(options.signal)
  }

  async shutdown(options: StopOptions = {}): Promise<void> {
    const session = this.requireRunning()
    await this.#untilStateChange('shut down', options, async (signal) => {
      session.expectShutdown()
      await this.#ask('poweroff', signal)
      await session.ended
    }).catch((error: unknown) => {
      if (session.endReason === undefined || session.endReason === 'qemu-died') throw error
    })
  }

  async powerCut(): Promise<void> {
    await this.requireRunning().stop('power-cut')
  }

  async start(options: StartOptions = {}): Promise<void> {
    if (this.#isDisposed) throw disposed()
    if (this.isRunning || this.#starting !== undefined) {
      throw vmError('VM_RUNNING', {
        summary: `The guest '${this.#machine.spec.name}' cannot be started: it ${this.isRunning ? 'is running' : 'is being started'}.`,
        hint: 'call `vm.shutdown()` or `vm.powerCut()` first, or `vm.reboot()`.',
      })
    }
    const signal = eitherSignal(this.#ending.signal, options.signal)
    this.#starting = this.#controls.powerOn(signal)
    try {
      this.session = await this.#starting
    } catch (error) {
      throw addEvidence(error, this.#machine, undefined)
    } finally {
      this.#starting = undefined
    }
    this.bootCount++
    this.#follow(this.session)
    if (options.waitUntilReady ?? true) await this.waitUntilReady(options.signal)
  }

  async wait(
    options: StopOptions = {},
  ): Promise<{ readonly reason: PowerOffReason; readonly exitCode: number | undefined }> {
    const { ended } = this.session
    const longest = resolveDuration('timeout', options.timeout) ?? Number.POSITIVE_INFINITY
    const { timeoutMs, hint } = boundWait(longest, this.#machine.waitLimit)
    const onTimeout = () => this.#stateTimeout('end', timeoutMs, hint)
    const { reason, exit } = await withDeadline({ timeoutMs, signal: options.signal, onTimeout }, () => ended)
    return { reason, exitCode: exit.exitCode }
  }

  async waitUntilReady(signal?: AbortSignal): Promise<void> {
    const session = this.session
    const machine = this.#machine
    const { ready } = machine.spec
    if (ready === 'none') {
      session.watch.enter(firstStage(machine))
      session.watch.markReady()
      this.#wasReady = true
      this.seenBoot = this.bootCount
      return
    }
    // A guest that was ready and has reset itself since starts again, with the time of all its stages.
    if (session.watch.isReady && this.seenBoot < this.bootCount) session.watch.restart(firstStage(machine))
    session.watch.enter(firstStage(machine))
    // A launch is ended by its signal: its template is not at fault when the time of a test is up.
    const limit = () => (this.#wasReady ? machine.waitLimit() : Number.POSITIVE_INFINITY)
    const lastStage = LAST_STAGES[ready as keyof typeof LAST_STAGES] ?? 'sshd'
    try {
      await waitUntilReady({ machine, session, lastStage, signal, limit }, async (stop) => {
        if (ready === 'login') return this.#enterByConsole(stop)
        if (ready === 'ssh' || ready === 'cloud-init') return this.#enterBySsh(session, stop)
        if (ready === 'agent')
          return this.#machine.agent.ping({ timeoutMs: Number.POSITIVE_INFINITY, signal: stop })
        if (ready instanceof RegExp) {
          await machine.serial.waitFor(ready, {
            from: session.bootMark,
            timeout: Number.POSITIVE_INFINITY,
            signal: stop,
          })
          return
        }
        await ready(this.#vm)
      })
      this.seenBoot = this.bootCount
      this.#wasReady = true
    } catch (error) {
      throw await explainStart(error, machine, session)
    }
  }

  /** Once it has the key of the run, a guest keeps it on its disk. */
  async #enterBySsh(session: Session, signal: AbortSignal): Promise<void> {
    if (!this.#isKeyInstalled) await this.#enterByConsole(signal)
    this.#isKeyInstalled = true
    await this.access.connectWhenUp(session, signal)
    if (this.#machine.spec.ready !== 'cloud-init') return
    session.watch.enter('cloud-init')
    await waitForCloudInit(this.#machine, await this.access.client(undefined, signal), signal)
  }

  async #enterByConsole(signal: AbortSignal): Promise<void> {
    const { login } = this.#machine.spec
    if (login === undefined) return
    await enterByConsole(this.#machine, login, signal)
    this.session.watch.enter('sshd')
  }

  /** Follows the boot of a guest that was reset, by whomever, until it is ready. */
  async readyAfterReset(signal?: AbortSignal): Promise<void> {
    this.session.guestResets = 0
    await this.waitUntilReady(signal)
  }

  /** The names of the points of this power-on that the guest can go back to. */
  get checkpoints(): readonly string[] {
    return this.#checkpoints.names(this.session)
  }

  async checkpoint(name: string, signal?: AbortSignal): Promise<void> {
    const session = this.requireRunning()
    session.watch.failure.throwIfAborted()
    const either = eitherSignal(this.#ending.signal, signal)
    await raceLoss(this.#checkpoints.save(name, session, either), session)
  }

  async restore(name: string, signal?: AbortSignal): Promise<void> {
    const session = this.requireRunning()
    const either = eitherSignal(this.#ending.signal, signal)
    // What is connected to the guest is so to one that is no more then.
    const disconnect = () => {
      this.access.close('the guest went back to a checkpoint')
      this.#machine.agent.restart()
    }
    const restoring = this.#checkpoints.restore(name, session, { disconnect, signal: either })
    // A panic that is found out meanwhile is undone by it.
    await Promise.race([restoring, endOf(session)])
  }

  /** Closes what is connected to the guest, for good. */
  disconnect(): void {
    this.#ending.abort(disposed())
    this.access.close('the guest was disposed of')
  }

  async dispose(): Promise<void> {
    this.disconnect()
    // What a start acquires is only released by those who know of it.
    await this.#starting?.catch(() => {})
    await this.#controls.dispose()
  }

  /** What is connected to the guest does not outlive its reset or its end. */
  #follow(session: Session): void {
    session.onReset(() => {
      this.bootCount++
      this.access.close('the guest was reset')
    })
    void session.ended.then(() => this.access.close('the guest was switched off'))
  }

  /** Asks the guest by whatever it listens to. What it answers while it goes down does not matter. */
  async #ask(what: 'poweroff' | 'reboot', signal: AbortSignal): Promise<void> {
    const { spec, agent } = this.#machine
    const { session } = this
    const isBySsh = spec.ready === 'ssh' || spec.ready === 'cloud-init'
    const isReset = what === 'reboot' && !isBySsh && !hasAgent(this.#machine)
    if (!isReset) session.watch.failure.throwIfAborted() // a lost guest hears nothing
    if (isBySsh) {
      const client = await this.access.client(undefined, signal)
      // By its path first: busybox' shell has commands of these names of its own, which take seconds longer.
      client.exec(`/sbin/${what} || ${what}`, { reject: false, signal }).catch(() => {})
    } else if (hasAgent(this.#machine)) {
      await agent.shutdown(what === 'poweroff' ? 'powerdown' : 'reboot')
    } else {
      await session.qmp.execute(what === 'poweroff' ? 'system_powerdown' : 'system_reset')
    }
  }

  async #untilStateChange(
    what: string,
    options: StopOptions,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const { spec, host, waitLimit } = this.#machine
    const longest =
      resolveDuration('timeout', options.timeout) ??
      spec.timeouts.shutdownMs ??
      DEFAULTS.shutdownMs * host.timeFactor
    const { timeoutMs, hint } = boundWait(longest, waitLimit)
    const onTimeout = () => this.#stateTimeout(what, timeoutMs, hint)
    try {
      await withDeadline({ timeoutMs, signal: options.signal, onTimeout }, (signal) =>
        raceLoss(work(signal), this.session),
      )
    } catch (error) {
      throw addEvidence(error, this.#machine, this.session)
    }
  }

  #stateTimeout(what: string, timeoutMs: number, hint: string | undefined) {
    return vmError('STATE_TIMEOUT', {
      summary: `The guest '${this.#machine.spec.name}' did not ${what} within ${formatDuration(timeoutMs)}.`,
      hint: hint ?? 'the serial console tells what it waits for; `vm.powerCut()` ends it at once.',
    })
  }
}

function hasAgent({ spec }: Machine): boolean {
  return spec.image?.traits.hasAgent === true || spec.ready === 'agent'
}

function eitherSignal(first: AbortSignal, second: AbortSignal | undefined): AbortSignal {
  return second === undefined ? first : AbortSignal.any([first, second])
}

/** Ends with the guest: at its panic, unless that is past, and at the end of its QEMU. */
function raceLoss<T>(work: Promise<T>, session: Session): Promise<T> {
  const { failure } = session.watch
  return Promise.race([failure.aborted ? work : raceSignal(work, failure), endOf(session)])
}

/** Rejects, with why, when the QEMU of a power-on has ended. */
function endOf(session: Session): Promise<never> {
  return session.ended.then(() => Promise.reject(session.watch.failure.reason))
}

function disposed() {
  return vmError('VM_NOT_RUNNING', {
    summary: 'The guest was disposed of.',
    hint: 'use it only inside the body of `withVM()`, and await every promise there.',
  })
}
