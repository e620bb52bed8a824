import { combineSignals } from '../../common/combine-signals.js'
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
import { logInOnConsole } from './console-login.js'
import type { ForkOptions } from './fork-options.js'
import { firstStage, isReadyOverSsh, waitUntilReady } from './readiness.js'
import { SshAccess } from './ssh-access.js'

/** Last stage of a start by `ready`, if it is later than the SSH server. */
const LAST_STAGES = { ssh: 'login', 'cloud-init': 'cloud-init', login: 'login' } as const

/** Operations provided by the creator of a guest. */
export interface PowerControls {
  /** Starts QEMU on the machine's overlay. */
  powerOn(signal: AbortSignal | undefined): Promise<Session>
  /** Releases all resources of the machine. */
  dispose(): Promise<void>
  /** Starts children that continue from the present state of the guest. */
  fork(request: ForkRequest): Promise<readonly unknown[]>
}

/** Number and options of the children of `vm.fork()`. */
export interface ForkRequest {
  readonly count: number
  readonly options: ForkOptions
}

/** A running guest that is to be forked. */
export interface ForkParent {
  readonly machine: Machine
  readonly session: Session
  /** Host key of an SSH server whose key withvm did not create. */
  readonly hostKey: Buffer | undefined
  /** If true, the SSH server reads its host key for each connection. */
  readonly readsHostKey: boolean
  /** If true, checkpoints of the guest are in its overlay, which can then not become a layer. */
  readonly hasCheckpoints: boolean
  /** Aborts when the guest is lost or disposed of. */
  readonly signal: AbortSignal
}

/** Options of `vm.start()`. */
export interface StartOptions {
  /** If true, waits until the guest is ready, like a launch. @default true */
  readonly waitUntilReady?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** Options of `vm.shutdown()`, `vm.reboot()` and `vm.wait()`. */
export interface StopOptions {
  /** Maximum time to wait. @default 20 s on a host with KVM, more on a slower host */
  readonly timeout?: Duration | undefined
  readonly signal?: AbortSignal | undefined
}

/** Power state of a guest: its present power-on, and the transitions between power-ons. */
export class Power {
  /** SSH connections of the present power-on. */
  readonly access: SshAccess
  /** Latest power-on. */
  session: Session
  /** Number of boots of the machine. */
  bootCount = 1
  /** Latest boot that was waited for until it was ready. */
  lastReadyBoot = 1
  readonly #vm: unknown
  readonly #machine: Machine
  readonly #controls: PowerControls
  readonly #ending = new AbortController()
  readonly #checkpoints: Checkpoints
  #isKeyInstalled = false
  /** If true, the guest continues from a moment at which its own `ready` check had passed. */
  #continuesReady = false
  #wasReady = false
  #starting: Promise<Session> | undefined

  /** @param vm argument of a `ready` function. */
  constructor(vm: unknown, machine: Machine, controls: PowerControls, session: Session) {
    this.access = new SshAccess(machine)
    this.session = session
    this.#vm = vm
    this.#machine = machine
    this.#controls = controls
    this.#checkpoints = new Checkpoints(machine)
    this.#continueFork()
    this.#follow(session)
  }

  get isRunning(): boolean {
    return !this.#isDisposed && this.session.endReason === undefined
  }

  get #isDisposed(): boolean {
    return this.#ending.signal.aborted
  }

  /** Returns the present power-on. Throws the reason if the guest is off or disposed of. */
  requireRunning(): Session {
    if (this.#isDisposed) throw guestDisposedError()
    if (this.session.endReason !== undefined) throw this.session.watch.failure.reason
    return this.session
  }

  async reboot(options: StopOptions = {}): Promise<void> {
    const session = this.requireRunning()
    const reset = createDeferred<void>()
    const stop = session.onReset(() => reset.resolve())
    try {
      await this.#untilStateChange('reboot', options, async (signal) => {
        await this.#request('reboot', signal)
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
      await this.#request('poweroff', signal)
      await session.ended
    }).catch((error: unknown) => {
      if (session.endReason === undefined || session.endReason === 'qemu-died') throw error
    })
  }

  async powerCut(): Promise<void> {
    await this.requireRunning().stop('power-cut')
  }

  async start(options: StartOptions = {}): Promise<void> {
    if (this.#isDisposed) throw guestDisposedError()
    if (this.isRunning || this.#starting !== undefined) {
      throw vmError('VM_RUNNING', {
        summary: `The guest '${this.#machine.name}' cannot be started: it is ${this.isRunning ? 'running' : 'starting'}.`,
        hint: 'Call `vm.shutdown()` or `vm.powerCut()` first, or use `vm.reboot()`.',
      })
    }
    const signal = combineSignals(this.#ending.signal, options.signal)
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
    const { timeoutMs, hint } = boundWait(longest, this.#machine.owner.waitLimit)
    const onTimeout = () => this.#stateTimeout('end', timeoutMs, hint)
    const { reason, exit } = await withDeadline({ timeoutMs, signal: options.signal, onTimeout }, () => ended)
    return { reason, exitCode: exit.exitCode }
  }

  async waitUntilReady(signal?: AbortSignal): Promise<void> {
    const session = this.session
    const machine = this.#machine
    const { ready } = machine.spec
    if (ready === 'none' || this.#continuesReady) {
      this.#continuesReady = false
      session.watch.enter(firstStage(machine))
      session.watch.markReady()
      this.#wasReady = true
      this.lastReadyBoot = this.bootCount
      return
    }
    // A guest that was ready and has reset itself since boots again, with the time limits of all
    // stages.
    if (session.watch.isReady && this.lastReadyBoot < this.bootCount)
      session.watch.restart(firstStage(machine))
    session.watch.enter(firstStage(machine))
    // A launch is ended by its signal, so that a test's timeout is not attributed to the template.
    const limit = () => (this.#wasReady ? machine.owner.waitLimit() : Number.POSITIVE_INFINITY)
    const lastStage = LAST_STAGES[ready as keyof typeof LAST_STAGES] ?? 'sshd'
    try {
      await waitUntilReady({ machine, session, lastStage, signal, limit }, async (stop) => {
        if (ready === 'login') return this.#logInOnConsole(stop)
        if (isReadyOverSsh(machine.spec)) return this.#connectOverSsh(session, stop)
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
        // A template is saved after its function has resolved, which may have changed the guest.
        if (!this.#isRestored) await (ready as (vm: unknown) => unknown)(this.#vm)
      })
      this.lastReadyBoot = this.bootCount
      this.#wasReady = true
      machine.serial.markReady()
    } catch (error) {
      throw await explainStart(error, machine, session)
    }
  }

  /** Connects over SSH. The run's key is installed once, because it stays on the guest's disk. */
  async #connectOverSsh(session: Session, signal: AbortSignal): Promise<void> {
    const { probed, isIdentitySet } = this.#machine
    const isClone = probed !== undefined && isIdentitySet
    if (!this.#isKeyInstalled && !isClone) await this.#logInOnConsole(signal)
    this.#isKeyInstalled = true
    await this.access.connectWhenUp(session, signal)
    if (this.#machine.spec.ready !== 'cloud-init') return
    session.watch.enter('cloud-init')
    await waitForCloudInit(this.#machine, await this.access.client(undefined, signal), signal)
  }

  async #logInOnConsole(signal: AbortSignal): Promise<void> {
    const { login } = this.#machine.spec
    if (login === undefined || this.#hasLoginOfTemplate) return
    this.access.trustHostKey(await logInOnConsole(this.#machine, login, signal))
    this.session.watch.enter('sshd')
  }

  /**
   * If true, this is a clone that has its login already: the console is that of its template, and
   * its identity contains the key for the user of the image.
   */
  get #hasLoginOfTemplate(): boolean {
    const { spec } = this.#machine
    return this.#isRestored && (spec.ssh === undefined || spec.ssh.user === spec.image?.traits.sshUser)
  }

  /** If true, the guest continues from a snapshot and has not booted since. */
  get #isRestored(): boolean {
    return this.bootCount === 1 && this.session.isRestored
  }

  /** Waits until a guest that was reset, by itself or by a test, is ready. */
  async readyAfterReset(signal?: AbortSignal): Promise<void> {
    this.session.guestResets = 0
    await this.waitUntilReady(signal)
  }

  /** Takes over what is known about the parent of a fork. */
  #continueFork(): void {
    const { origin, spec } = this.#machine
    const fork = origin.snapshot?.fork
    if (fork === undefined) return
    this.access.trustHostKey(fork.hostKey)
    this.#isKeyInstalled = true
    this.#continuesReady = !['ssh', 'cloud-init', 'agent'].includes(spec.ready as string)
  }

  /** If true, the first boot was that of a template. */
  get #isParked(): boolean {
    const { snapshot } = this.#machine.origin
    return snapshot !== undefined && (snapshot.fork?.readsHostKey ?? true)
  }

  /** Returns the running guest as the parent of a fork. */
  forkParent(): ForkParent {
    const session = this.requireRunning()
    session.watch.failure.throwIfAborted()
    return {
      machine: this.#machine,
      session,
      hostKey: this.access.hostKey,
      readsHostKey: this.bootCount === 1 && this.#isParked,
      hasCheckpoints: this.checkpoints.length > 0,
      signal: combineSignals(this.#ending.signal, session.watch.failure),
    }
  }

  /** Names of the checkpoints of this power-on. */
  get checkpoints(): readonly string[] {
    return this.#checkpoints.names(this.session)
  }

  async checkpoint(name: string, signal?: AbortSignal): Promise<void> {
    const session = this.requireRunning()
    session.watch.failure.throwIfAborted()
    const either = combineSignals(this.#ending.signal, signal)
    await raceLoss(this.#checkpoints.save(name, session, either), session)
  }

  async restore(name: string, signal?: AbortSignal): Promise<void> {
    const session = this.requireRunning()
    const either = combineSignals(this.#ending.signal, signal)
    // Connections belong to the state before the restore.
    const disconnect = () => {
      this.access.close('a checkpoint was restored')
      this.#machine.agent.restart()
    }
    const restoring = this.#checkpoints.restore(name, session, { disconnect, signal: either })
    // A panic that is detected meanwhile is undone by the restore.
    await Promise.race([restoring, rejectAtEnd(session)])
  }

  /** Closes all connections to the guest permanently. */
  disconnect(): void {
    this.#ending.abort(guestDisposedError())
    this.access.close('the guest was disposed of')
  }

  async dispose(): Promise<void> {
    this.disconnect()
    // A start in progress must finish first, so that its resources are registered for release.
    await this.#starting?.catch(() => {})
    await this.#controls.dispose()
  }

  /** Closes connections when the guest is reset or ends. */
  #follow(session: Session): void {
    session.onReset(() => {
      this.bootCount++
      this.access.close('the guest was reset')
    })
    void session.ended.then(() => this.access.close('the guest was powered off'))
  }

  /**
   * Requests a shutdown or reboot through SSH, the guest agent or ACPI. Errors while the guest goes
   * down are ignored.
   */
  async #request(what: 'poweroff' | 'reboot', signal: AbortSignal): Promise<void> {
    const { spec, agent } = this.#machine
    const { session } = this
    const isBySsh = isReadyOverSsh(spec)
    const isReset = what === 'reboot' && !isBySsh && !hasAgent(this.#machine)
    if (!isReset) session.watch.failure.throwIfAborted() // a lost guest cannot answer
    if (isBySsh) {
      const client = await this.access.client(undefined, signal)
      // The path is tried first: busybox's shell has builtins with these names, which take seconds
      // longer.
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
    const { spec, host, owner } = this.#machine
    const longest =
      resolveDuration('timeout', options.timeout) ??
      spec.timeouts.shutdownMs ??
      DEFAULTS.shutdownMs * host.timeFactor
    const { timeoutMs, hint } = boundWait(longest, owner.waitLimit)
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
      summary: `The guest '${this.#machine.name}' did not ${what} within ${formatDuration(timeoutMs)}.`,
      hint: hint ?? 'Check the serial console for the reason, or end the guest at once with `vm.powerCut()`.',
    })
  }
}

function hasAgent({ spec }: Machine): boolean {
  return spec.image?.traits.hasAgent === true || spec.ready === 'agent'
}

/**
 * Races `work` with the loss of the guest: a panic, unless it is already known, and the end of
 * QEMU.
 */
function raceLoss<T>(work: Promise<T>, session: Session): Promise<T> {
  const { failure } = session.watch
  return Promise.race([failure.aborted ? work : raceSignal(work, failure), rejectAtEnd(session)])
}

/** Rejects with the reason when the QEMU of a power-on has ended. */
function rejectAtEnd(session: Session): Promise<never> {
  return session.ended.then(() => Promise.reject(session.watch.failure.reason))
}

function guestDisposedError() {
  return vmError('VM_NOT_RUNNING', {
    summary: 'The guest was disposed of.',
    hint: 'Use the guest only inside the body of `withVM()`, and await every promise there.',
  })
}
