import { setMaxListeners } from 'node:events'
import { stripVTControlCharacters } from 'node:util'
import { ConsoleLines } from '../../channel/serial/console-lines.js'
import type { SerialConsole } from '../../channel/serial/serial-console.js'
import type { ProbeResult } from '../../channel/ssh/probe.js'
import type { VMError } from '../../errors.js'
import { type BootClue, updateBootClue } from './boot-clues.js'
import { isLater, laterStage, type Stage } from './boot-stages.js'
import { findGuestFailure } from './guest-failures.js'

/**
 * Time without output after which a partial line counts as a prompt, and a failure's trace as
 * complete, in milliseconds.
 */
const QUIET_MS = 150
/** Maximum number of distinct lines of a boot; further lines do not count as progress. */
const MAX_KNOWN_LINES = 10_000

/** Time at which a guest entered a stage, in milliseconds since QEMU was started. */
export interface StageTime {
  /** Stage of the start; `ready` is its end. */
  readonly stage: Stage | 'ready'
  /** Time since the power-on, in milliseconds. */
  readonly atMs: number
}

/** Follows one power-on: the stage of the guest, and its loss. */
export class GuestWatch {
  #timeline: StageTime[] = [{ stage: 'qemu', atMs: 0 }]
  readonly #startedAt = performance.now()
  readonly #listeners = new Set<() => void>()
  #serial: SerialConsole | undefined
  #failure = createFailure()
  #stage: Stage = 'qemu'
  #stageSince = performance.now()
  #isReady = false
  #hasPrinted = false
  readonly #lines = new ConsoleLines()
  #promptTimer: NodeJS.Timeout | undefined
  #pendingFailure: VMError | undefined
  #stopReading: (() => void) | undefined
  readonly #printed = new Set<string>()
  #progressAt = performance.now()
  #clue: BootClue | undefined
  /** Result of the latest probe of the guest's SSH server. */
  sshProbe: ProbeResult | undefined

  /** Stages of the latest start, with their times. */
  get timeline(): readonly StageTime[] {
    return this.#timeline
  }

  /** Reads the console until {@link finish}. */
  follow(serial: SerialConsole): void {
    this.#serial = serial
    serial.resume()
    this.#stopReading = serial.onText((text) => this.#read(text))
  }

  /** Stops reading the console. A failure whose trace is incomplete counts at once. */
  finish(): void {
    this.#stopReading?.()
    clearTimeout(this.#promptTimer)
    if (this.#lines.partial !== '') this.#readLine(this.#lines.partial)
    this.#lines.reset()
    if (this.#pendingFailure !== undefined) this.fail(this.#pendingFailure)
  }

  /**
   * Signal that aborts when the guest fails, powers off, or QEMU exits. Its `reason` is the error.
   */
  get failure(): AbortSignal {
    return this.#failure.signal
  }

  get stage(): Stage {
    return this.#stage
  }

  /** Time since QEMU was started, in milliseconds. */
  get ageMs(): number {
    return performance.now() - this.#startedAt
  }

  get inStageMs(): number {
    return performance.now() - this.#stageSince
  }

  get hasPrinted(): boolean {
    return this.#hasPrinted
  }

  /**
   * Time since this boot last printed a line that was new apart from its numbers, in milliseconds.
   */
  get sinceProgressMs(): number {
    return performance.now() - this.#progressAt
  }

  get isReady(): boolean {
    return this.#isReady
  }

  /** Console line of this boot that may explain its failure. */
  get clue(): BootClue | undefined {
    return this.#clue
  }

  /** Records that the guest entered a stage. Ignored unless it is later than the present one. */
  enter(stage: Stage): void {
    if (!isLater(stage, this.#stage)) return
    this.#stage = stage
    this.#stageSince = performance.now()
    this.#timeline.push({ stage, atMs: this.#stageSince - this.#startedAt })
    for (const listener of this.#listeners) listener()
  }

  onStage(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Marks the guest as ready. From now on, only its loss counts as a failure. */
  markReady(): void {
    this.#isReady = true
    this.#timeline.push({ stage: 'ready', atMs: performance.now() - this.#startedAt })
  }

  /** Starts a new boot after a reset or restore. Clears an earlier failure. */
  restart(stage: Stage): void {
    this.#isReady = false
    this.#stage = stage
    this.#stageSince = performance.now()
    this.#timeline = [{ stage, atMs: this.#stageSince - this.#startedAt }]
    this.#lines.reset()
    this.#pendingFailure = undefined
    this.#printed.clear()
    this.#clue = undefined
    this.sshProbe = undefined
    if (this.#failure.signal.aborted) this.#failure = createFailure()
    this.#serial?.resume()
  }

  /** Marks the guest as lost. Waits for the guest and on its console end with this error. */
  fail(error: VMError): void {
    if (this.#failure.signal.aborted) return
    this.#failure.abort(error)
    this.#serial?.interrupt(error)
  }

  #read(text: string): void {
    this.#hasPrinted ||= text.trim() !== ''
    clearTimeout(this.#promptTimer)
    for (const line of this.#lines.push(text)) this.#readLine(line)
    // A prompt has no line end: it is a partial line that remains after a pause.
    if (this.#lines.partial !== '') {
      this.#promptTimer = setTimeout(() => this.#readLine(this.#lines.partial), QUIET_MS)
    }
  }

  #readLine(raw: string): void {
    const line = stripVTControlCharacters(raw)
    if (line === '') return
    const stage = laterStage(this.#stage, line)
    if (stage !== undefined) this.enter(stage)
    if (!this.#isReady) {
      this.#clue = updateBootClue(this.#clue, line)
      this.#recordProgress(line)
    }
    const failure = findGuestFailure(line, this.#isReady ? 'other' : 'start')
    if (failure === undefined || this.#pendingFailure !== undefined) return
    this.#pendingFailure = failure
    // The following output, such as a panic's trace, is evidence too.
    setTimeout(() => this.#pendingFailure === failure && this.fail(failure), QUIET_MS)
  }

  /** Records a line as progress, unless it differs from an earlier line only by its numbers. */
  #recordProgress(line: string): void {
    const text = line.replaceAll(/\d+/g, '0').slice(0, 80)
    if (this.#printed.has(text) || this.#printed.size >= MAX_KNOWN_LINES) return
    this.#printed.add(text)
    this.#progressAt = performance.now()
  }
}

/**
 * Creates the controller of a loss. Each running command listens, so Node.js's warning above ten
 * listeners is disabled.
 */
function createFailure(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}
