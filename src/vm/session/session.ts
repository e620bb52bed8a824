import { QmpClient, type QmpLog, type QmpWait } from '../../channel/qmp/qmp-client.js'
import type { SerialMark } from '../../channel/serial/serial-console.js'
import { CleanupStack } from '../../common/cleanup-stack.js'
import { combineSignals } from '../../common/combine-signals.js'
import { raceSignal } from '../../common/deadline.js'
import { createDeferred } from '../../common/deferred.js'
import { type VMError, vmError } from '../../errors.js'
import { explainKill, readOomKills } from '../../host/oom-kills.js'
import type { QemuCommand } from '../../qemu/command.js'
import { type QemuExit, QemuProcess } from '../../qemu/process.js'
import { describeExit, explainStartFailure, memoryFileError } from '../../qemu/start-failure.js'
import { describeArch } from '../../spec/architectures.js'
import type { MachineSnapshot } from '../machine/guest-plan.js'
import type { Machine } from '../machine/machine.js'
import { STAGE_ROWS } from '../watch/boot-stages.js'
import { GuestWatch } from '../watch/guest-watch.js'
import { formatQemuNote, PID_FILE } from '../workspace/run-folder.js'
import { endsWithin, stopQemu } from './teardown.js'

/**
 * Reason for the end of a power-on: the guest powered off, withvm stopped it, or QEMU ended
 * unexpectedly.
 */
export type PowerOffReason = 'guest-shutdown' | 'stopped' | 'qemu-died'

/**
 * Time within which RESET events count as one reset: a guest that resets itself writes to several
 * ports in turn, and QEMU reports each write. On a busy host this takes longer, but nothing is
 * printed in between.
 */
const ONE_RESET_MS = { printing: 250, silent: 1000 } as const
/**
 * Maximum time for the rest of the console output to arrive after QEMU has ended, on a busy host,
 * in milliseconds.
 */
const CONSOLE_REST_MS = 5000
/** Maximum delay between a lost connection and the detection of QEMU's end, in milliseconds. */
const END_NOTICED_MS = 500

/** One power-on of a machine: from the start of a QEMU process to its end. */
export class Session {
  readonly process: QemuProcess
  readonly qmp: QmpClient
  readonly watch: GuestWatch
  /** Resolves when this power-on is over. Never rejects. */
  readonly ended: Promise<{ readonly reason: PowerOffReason; readonly exit: QemuExit }>
  /** Console position at which the latest boot begins. */
  bootMark: SerialMark
  /** Number of resets by the guest itself since the start. */
  guestResets = 0
  /** Undefined until this power-on is over. */
  endReason: PowerOffReason | undefined
  /** Snapshot that this power-on was restored from. Undefined: the guest was booted. */
  restoredFrom: MachineSnapshot | undefined
  /** Devices plugged in during this power-on: their descriptions by QEMU id. */
  readonly pluggedDevices = new Map<string, string>()
  /** If true, this power-on began with the restore of a snapshot. */
  isRestored = false
  /** If true, a medium was inserted or ejected during this power-on. */
  hasChangedMedia = false
  readonly #endsWithoutEvent: boolean
  #guestShutdown = false
  #isStopping = false
  #isShutdownAsked = false
  #haltedBy: VMError | undefined
  #resetAt = Number.NEGATIVE_INFINITY
  readonly #resetListeners = new Set<() => void>()

  private constructor(
    process: QemuProcess,
    qmp: QmpClient,
    watch: GuestWatch,
    { serial, spec }: Pick<Machine, 'serial' | 'spec'>,
  ) {
    this.process = process
    this.bootMark = serial.mark()
    this.qmp = qmp
    this.watch = watch
    this.#endsWithoutEvent = describeArch(spec.arch).endsWithoutEvent === true
    qmp.on('SHUTDOWN', (event) => {
      this.#guestShutdown ||= event.data.guest === true
    })
    qmp.on('RESET', (event) => {
      this.bootMark = serial.mark()
      // Firmware that resets in a tight loop must be counted too, so the time runs from the last
      // counted reset.
      const sinceMs = performance.now() - this.#resetAt
      const hasPrinted = (serial.silentMs ?? Number.POSITIVE_INFINITY) < sinceMs
      if (sinceMs < (hasPrinted ? ONE_RESET_MS.printing : ONE_RESET_MS.silent)) return
      this.#resetAt = performance.now()
      if (event.data.guest === true) this.guestResets++
      for (const listener of this.#resetListeners) listener()
    })
    qmp.on('BLOCK_IO_ERROR', (event) => {
      // QEMU stops a guest whose disk cannot grow; without this, waits would hang.
      if (event.data.nospace === true) watch.fail(overlayFullError())
    })
    const killsBefore = readOomKills()
    // The console is drained first, because the guest printed before QEMU ended.
    this.ended = process.exited.then(async (exit) => {
      await serial.drain(CONSOLE_REST_MS)
      const isKilled = exit.signal === 'SIGKILL' && !this.#isStopping
      // Determined before the end is published, so that all waits get the same error.
      const killer = isKilled ? explainKill(await killsBefore, await readOomKills()) : undefined
      return this.#end(exit, killer)
    })
  }

  /**
   * Starts QEMU and connects its channels.
   *
   * @throws {VMError} of `explainStartFailure()` when QEMU ends, QEMU_FAILED when it does not
   *   answer in time.
   */
  static async start(
    machine: Machine,
    command: QemuCommand,
    signal: AbortSignal | undefined,
  ): Promise<Session> {
    signal?.throwIfAborted()
    const { sockets, guestPorts, serial, agent, identityAgent, workspace } = machine
    const cleanup = new CleanupStack()
    const watch = new GuestWatch()
    try {
      const { qmp: qmpListener, ports: portListeners } = sockets
      const listeners = [qmpListener, sockets.serial, sockets.agent, sockets.identityAgent, ...portListeners]
      await Promise.all(listeners.map((listener) => listener.discard()))
      const qemu = await QemuProcess.start(command, workspace.folder, {
        endsWithParent: machine.keeper === undefined,
        user: machine.host.user,
      })
      machine.recordProcess(qemu)
      cleanup.defer(() => stopQemu(qemu))
      const failed = createDeferred<never>()
      failed.promise.catch(() => {})
      void qemu.exited.then((exit) => failed.reject(explainStartFailure(exit)))
      // Pending waits for this QEMU must not accept connections of the next one.
      const over = new AbortController()
      cleanup.defer(() => over.abort())
      const wait = {
        timeoutMs: STAGE_ROWS.qemu.limitMs * machine.host.timeFactor,
        signal: combineSignals(signal, over.signal),
      }
      const log: QmpLog = (direction, line) =>
        machine.transcripts.qmp.add(`${direction === 'sent' ? '->' : '<-'} ${line}`)
      const connected = Promise.all([
        qmpListener.accept(wait).then((socket) => QmpClient.negotiate(socket, { ...wait, log })),
        sockets.serial.accept(wait),
        sockets.agent.accept(wait),
        sockets.identityAgent.accept(wait),
        Promise.all(portListeners.map((listener) => listener.accept(wait))),
        workspace.write(PID_FILE, formatQemuNote(qemu.pid, workspace)),
      ])
      connected.catch(() => {})
      const [qmp, serialSocket, agentSocket, identityAgentSocket, portSockets] = await raceSignal(
        Promise.race([connected, failed.promise]),
        signal,
      ).catch(async (error: unknown) => {
        // QEMU closes its sockets shortly before its end can be detected.
        throw signal?.aborted || !(await endsWithin(qemu, END_NOTICED_MS)) ? error : await failed.promise
      })
      cleanup.defer(() => qmp.close())
      const session = new Session(qemu, qmp, watch, machine)
      watch.follow(serial)
      void qemu.exited.then(() => machine.services.forwards.endCommands())
      serial.attach(serialSocket)
      agent.attach(agentSocket)
      identityAgent.attach(identityAgentSocket)
      for (const [index, socket] of portSockets.entries()) guestPorts[index]?.attach(socket)
      session.onReset(() => agent.restart())
      return session
    } catch (error) {
      await cleanup.dispose()
      throw error
    }
  }

  /**
   * Calls `listener` after each reset of the machine, whether requested by the guest or by the
   * host.
   */
  onReset(listener: () => void): () => void {
    this.#resetListeners.add(listener)
    return () => void this.#resetListeners.delete(listener)
  }

  /** Marks the guest as lost and stops its vCPUs until the end of this power-on. */
  halt(error: VMError): void {
    this.#haltedBy ??= error
    this.watch.fail(error)
    this.qmp.execute('stop').catch(() => {}) // QEMU has already ended
  }

  /**
   * Lets the vCPUs run. Throws if the guest was halted: `cont` is sent nowhere else, so nothing
   * resumes it.
   */
  async resume(wait: QmpWait = {}): Promise<void> {
    if (this.#haltedBy !== undefined) throw this.#haltedBy
    await this.qmp.execute('cont', {}, wait)
  }

  /** Pauses the vCPUs during `work`, unless they are paused already. */
  async pauseDuring(work: () => Promise<void>): Promise<void> {
    const resume = await this.pause()
    try {
      await work()
    } finally {
      await resume()
    }
  }

  /**
   * Pauses the vCPUs. Returns a function that resumes them, unless they were paused already.
   * Neither rejects.
   */
  async pause(): Promise<() => Promise<void>> {
    // Sent together, so that no other command comes between them.
    const asked = Promise.all([this.qmp.execute('query-status'), this.qmp.execute('stop')])
    const wasRunning = await asked.then(
      ([{ status }]) => status === 'running',
      () => false, // QEMU has ended
    )
    return async () => {
      if (wasRunning) await this.resume().catch(() => {}) // QEMU has ended, or the guest was halted
    }
  }

  /** Announces a requested shutdown, which then does not count as a power-off by the guest. */
  expectShutdown(): void {
    this.#isShutdownAsked = true
  }

  /** Ends QEMU: `orderly` flushes and closes its disks, `power-cut` kills it. */
  async stop(how: 'orderly' | 'power-cut'): Promise<void> {
    this.#isStopping = true
    if (how === 'power-cut') this.process.kill('SIGKILL')
    await stopQemu(this.process, this.qmp)
    this.qmp.close()
    await this.ended
  }

  /** Detaches from a QEMU that continues to run without this process. */
  detach(): void {
    this.#isStopping = true
    this.qmp.close()
    this.process.leave()
    this.watch.fail(powerIsOffError())
  }

  #end(exit: QemuExit, killer: string | undefined): { reason: PowerOffReason; exit: QemuExit } {
    this.qmp.close('QEMU has ended')
    const reason = this.#isStopping
      ? 'stopped'
      : (this.#guestShutdown || this.#endsWithoutEvent) && exit.exitCode === 0
        ? 'guest-shutdown'
        : 'qemu-died'
    this.endReason = reason
    this.watch.finish()
    const isExpected = reason === 'guest-shutdown' && this.#isShutdownAsked
    this.watch.fail(this.#endError(isExpected ? 'stopped' : reason, exit, killer))
    return { reason, exit }
  }

  #endError(reason: PowerOffReason, exit: QemuExit, killer: string | undefined): VMError {
    if (reason === 'guest-shutdown') return this.watch.isReady ? poweredOffError() : poweredOffEarlyError()
    return reason === 'stopped' ? powerIsOffError() : qemuDiedError(exit, killer)
  }
}

function overlayFullError() {
  return vmError('NO_SPACE', {
    summary: 'The disk of this host is full: QEMU stopped the guest because its writes could not be saved.',
    hint: 'Free disk space, or set `tmpdir` (or TMPDIR) to a folder with more space.',
  })
}

function poweredOffError() {
  return vmError('GUEST_STOPPED', {
    summary: 'The guest powered itself off.',
    hint: 'Wait with `vm.wait()` if the test expects this; power the guest on again with `vm.start()`.',
  })
}

/** Error before readiness: the caller has no `vm` yet, so the hint does not use it. */
function poweredOffEarlyError() {
  return vmError('GUEST_STOPPED', {
    summary: 'The guest powered itself off before it was ready.',
    hint: 'Check the serial console for the reason. If the test expects this, set `ready` to a pattern that appears before the power-off.',
  })
}

/** @param killer hint that names the origin of a SIGKILL */
function qemuDiedError(exit: QemuExit, killer: string | undefined) {
  if (exit.signal === 'SIGBUS') return memoryFileError(exit)
  return vmError('QEMU_DIED', {
    summary: `QEMU ended unexpectedly while the guest was in use: ${describeExit(exit)}.`,
    evidence: [{ label: "QEMU's stderr", text: exit.stderr || '(empty)' }],
    hint: killer ?? "Read QEMU's own message above.",
  })
}

function powerIsOffError() {
  return vmError('VM_NOT_RUNNING', {
    summary: 'The guest is powered off.',
    hint: 'Power it on with `vm.start()`, unless it was disposed of.',
  })
}
