import { setMaxListeners } from 'node:events'
import { stripVTControlCharacters } from 'node:util'
import { ConsoleLines } from '../../channel/serial/console-lines.js'
import type { SerialConsole } from '../../channel/serial/serial-console.js'
import type { ProbeResult } from '../../channel/ssh/probe.js'
import type { VMError } from '../../errors.js'
import { type BootClue, updateBootClue } from './boot-clues.js'
import { isLater, laterStage, type Stage } from './boot-stages.js'
import { findGuestFailure } from './guest-failures.js'

/** How long a guest is listened to after its last byte before it counts as having said all, milliseconds. */
const PAUSE_MS = 150
/** More different lines than this no boot prints: what does is no news any more. */
const LINES_KNOWN = 10_000

/** When a guest came to a stage, milliseconds since QEMU was started. */
export interface StageTime {
  readonly stage: Stage | 'ready'
  readonly atMs: number
}

/** Follows one power-on: which stage the guest is in, and whether it is lost. */
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
  #newsAt = performance.now()
  #clue: BootClue | undefined
  /** What came of the newest try to reach the guest's SSH server. */
  sshProbe: ProbeResult | undefined

  /** The stages of the newest start, with when the guest came to them. */
  get timeline(): readonly StageTime[] {
    return this.#timeline
  }

  /** Reads along on the console until {@link finish}. */
  follow(serial: SerialConsole): void {
    this.#serial = serial
    serial.resume()
    this.#stopReading = serial.onText((text) => this.#read(text))
  }

  /** Stops reading: nothing more comes. A failure of which the trace was awaited counts at once. */
  finish(): void {
    this.#stopReading?.()
    clearTimeout(this.#promptTimer)
    if (this.#lines.partial !== '') this.#readLine(this.#lines.partial)
    this.#lines.reset()
    if (this.#pendingFailure !== undefined) this.fail(this.#pendingFailure)
  }

  /** Aborts, with the error as its reason, when the guest is lost. */
  get failure(): AbortSignal {
    return this.#failure.signal
  }

  get stage(): Stage {
    return this.#stage
  }

  /** How long ago QEMU was started. */
  get ageMs(): number {
    return performance.now() - this.#startedAt
  }

  get inStageMs(): number {
    return performance.now() - this.#stageSince
  }

  get hasPrinted(): boolean {
    return this.#hasPrinted
  }

  /** How long ago it printed a line of this boot that it had not printed before, but for its numbers. */
  get sinceNewsMs(): number {
    return performance.now() - this.#newsAt
  }

  get isReady(): boolean {
    return this.#isReady
  }

  /** The line of this boot that tells why it may fail. */
  get clue(): BootClue | undefined {
    return this.#clue
  }

  /** Notes that the guest has come to a stage, if it is a later one. */
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

  /** From now on only what costs the guest its life is a failure. */
  markReady(): void {
    this.#isReady = true
    this.#timeline.push({ stage: 'ready', atMs: performance.now() - this.#startedAt })
  }

  /** The guest was reset: it starts again from the firmware, and an earlier panic is past. */
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

  /** The guest is lost: what waits for it, also on its console, ends with this error. */
  fail(error: VMError): void {
    if (this.#failure.signal.aborted) return
    this.#failure.abort(error)
    this.#serial?.interrupt(error)
  }

  #read(text: string): void {
    this.#hasPrinted ||= text.trim() !== ''
    clearTimeout(this.#promptTimer)
    for (const line of this.#lines.push(text)) this.#readLine(line)
    // A prompt has no line end: it is what is still there after a pause.
    if (this.#lines.partial !== '') {
      this.#promptTimer = setTimeout(() => this.#readLine(this.#lines.partial), PAUSE_MS)
    }
  }

  #readLine(raw: string): void {
    const line = stripVTControlCharacters(raw)
    if (line === '') return
    const stage = laterStage(this.#stage, line)
    if (stage !== undefined) this.enter(stage)
    if (!this.#isReady) {
      this.#clue = updateBootClue(this.#clue, line)
      this.#noteNews(line)
    }
    const failure = findGuestFailure(line, this.#isReady ? 'other' : 'start')
    if (failure === undefined || this.#pendingFailure !== undefined) return
    this.#pendingFailure = failure
    // What follows, as a panic's trace, is evidence too.
    setTimeout(() => this.#pendingFailure === failure && this.fail(failure), PAUSE_MS)
  }

  /** What says the same again and again, each time with another number, gets nowhere. */
  #noteNews(line: string): void {
    const text = line.replaceAll(/\d+/g, '0').slice(0, 80)
    if (this.#printed.has(text) || this.#printed.size >= LINES_KNOWN) return
    this.#printed.add(text)
    this.#newsAt = performance.now()
  }
}

/** Every command that runs listens: more than the ten from which Node.js on thinks of a leak. */
function createFailure(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}
