import type { Socket } from 'node:net'
import { withDeadline } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { vmError } from '../../errors.js'
import { parseObject, readLines } from '../json-lines.js'
import type { QmpCommands, QmpEvent, QmpGreeting } from './qmp-commands.js'

/** One line of traffic, without its line end: `direction` as seen from the harness. */
export type QmpLog = (direction: 'sent' | 'received', line: string) => void

export interface QmpWait {
  /** @default 30000 */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Whatever QEMU sends: the greeting, an answer, an error or an event. */
interface QmpMessage extends Partial<QmpEvent> {
  readonly QMP?: QmpGreeting
  readonly id?: unknown
  readonly return?: unknown
  readonly error?: { readonly class: string; readonly desc: string }
}

interface Pending extends Deferred<unknown> {
  readonly command: string
}

const DEFAULT_TIMEOUT_MS = 30_000
/** Above what `human-monitor-command` prints for all of a machine's memory map; `query-qmp-schema` takes 0.3 Mi. */
const MAX_ANSWER_CHARS = 4 * 1024 * 1024

/** A connection to one QEMU's monitor. Commands may run at the same time; their order of sending is kept. */
export class QmpClient {
  readonly greeting: QmpGreeting
  readonly #socket: Socket
  readonly #log: QmpLog | undefined
  readonly #pending = new Map<number, Pending>()
  readonly #waits = new Set<Deferred<QmpEvent>>()
  readonly #listeners = new Map<string, Set<(event: QmpEvent) => void>>()
  readonly #anyListeners = new Set<(event: QmpEvent) => void>()
  readonly #closed = createDeferred<never>()
  #nextId = 1
  #isClosed = false

  private constructor(socket: Socket, greeting: QmpGreeting, log: QmpLog | undefined) {
    this.greeting = greeting
    this.#socket = socket
    this.#log = log
    this.#closed.promise.catch(() => {})
  }

  /**
   * Reads QEMU's greeting and leaves the capabilities mode.
   *
   * @throws {InfrastructureError} QMP_FAILED when the peer closes, does not answer in time or is no QMP server.
   */
  static async negotiate(
    socket: Socket,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined; readonly log?: QmpLog },
  ): Promise<QmpClient> {
    const { timeoutMs, log } = options
    const greeted = createDeferred<QmpClient>()
    let client: QmpClient | undefined
    const lose = (cause?: Error) => {
      const reason = cause === undefined ? 'the peer closed it' : cause.message
      greeted.reject(noGreeting(`the connection ended: ${reason}`))
      client?.close(`the QMP connection closed: ${reason}`)
    }
    socket.on('error', lose).on('close', () => lose())
    if (socket.destroyed) lose()
    const onTooLong = () => {
      greeted.reject(noGreeting('a line that is longer than any answer'))
      client?.close('QEMU sent a line that is longer than any answer')
    }
    const onLine = (line: string) => {
      log?.('received', line)
      const message = parseMessage(line)
      if (client !== undefined) return client.#receive(message, line)
      if (message?.QMP === undefined) return greeted.reject(noGreeting(line.slice(0, 200)))
      const { version, capabilities } = message.QMP
      client = new QmpClient(socket, { version: { ...version }, capabilities }, log)
      greeted.resolve(client)
    }
    readLines(socket, { onLine, onTooLong, maxChars: () => MAX_ANSWER_CHARS })
    const onTimeout = () => noGreeting(`nothing for ${formatDuration(timeoutMs)}`)
    try {
      return await withDeadline({ timeoutMs, signal: options.signal, onTimeout }, async (signal) => {
        const ready = await greeted.promise
        await ready.execute('qmp_capabilities', {}, { timeoutMs, signal })
        return ready
      })
    } catch (error) {
      greeted.promise.catch(() => {})
      socket.destroy()
      throw error
    }
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Rejects with QMP_FAILED once the connection is gone; never resolves. */
  get closed(): Promise<never> {
    return this.#closed.promise
  }

  /**
   * Runs a command and gives what QEMU returns.
   *
   * @throws {InfrastructureError} QMP_FAILED when QEMU refuses it, does not answer in time, or the connection closes.
   * @example await vm.qmp.execute('human-monitor-command', { 'command-line': 'info network' })
   */
  execute<Name extends keyof QmpCommands>(
    command: Name,
    args?: QmpCommands[Name]['arguments'],
    options?: QmpWait,
  ): Promise<QmpCommands[Name]['returns']>
  execute(command: string, args?: object, options?: QmpWait): Promise<unknown>
  async execute(command: string, args: object = {}, options: QmpWait = {}): Promise<unknown> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
    options.signal?.throwIfAborted()
    if (this.#isClosed) throw refused(command, CLOSED)
    const id = this.#nextId++
    const pending: Pending = { ...createDeferred<unknown>(), command }
    pending.promise.catch(() => {})
    this.#pending.set(id, pending)
    const line = JSON.stringify({ execute: command, arguments: args, id })
    this.#log?.('sent', line)
    this.#socket.write(`${line}\n`)
    const onTimeout = () => refused(command, `no answer within ${formatDuration(timeoutMs)}`)
    try {
      return await withDeadline({ timeoutMs, signal: options.signal, onTimeout }, () => pending.promise)
    } finally {
      this.#pending.delete(id)
    }
  }

  /** Calls `listener` for each event of that name. Gives a function that ends it. */
  on(event: string, listener: (event: QmpEvent) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, listeners.add(listener))
    return () => void listeners.delete(listener)
  }

  /** Calls `listener` for every event. Gives a function that ends it. */
  onAny(listener: (event: QmpEvent) => void): () => void {
    this.#anyListeners.add(listener)
    return () => void this.#anyListeners.delete(listener)
  }

  /**
   * Waits for the next event of that name. Call it before the command that causes the event, and await it after.
   *
   * @throws {InfrastructureError} QMP_FAILED when it does not come in time or the connection closes.
   */
  waitForEvent(
    name: string,
    options: QmpWait & { readonly predicate?: (event: QmpEvent) => boolean } = {},
  ): Promise<QmpEvent> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, predicate, signal } = options
    const seen = createDeferred<QmpEvent>()
    const stop = this.on(name, (event) => {
      try {
        if (predicate?.(event) ?? true) seen.resolve(event)
      } catch (error) {
        seen.reject(error)
      }
    })
    const onTimeout = () =>
      vmError('QMP_FAILED', {
        summary: `the QMP event ${name} did not come within ${formatDuration(timeoutMs)}`,
        hint: 'Start the wait before the command that causes the event.',
      })
    if (this.#isClosed) seen.reject(closedError(CLOSED))
    this.#waits.add(seen)
    const wait = withDeadline({ timeoutMs, signal, onTimeout }, () => seen.promise).finally(() => {
      this.#waits.delete(seen)
      stop()
    })
    wait.catch(() => {}) // it may fail before its caller comes to await it
    return wait
  }

  /** Closes the connection; what is pending rejects. Safe to call again. */
  close(reason = 'the QMP connection was closed by the harness'): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.destroy()
    for (const pending of this.#pending.values()) pending.reject(refused(pending.command, reason))
    const error = closedError(reason)
    for (const wait of this.#waits) wait.reject(error)
    this.#closed.reject(error)
  }

  #receive(message: QmpMessage | undefined, line: string): void {
    if (message === undefined) {
      this.close(`QEMU sent what is not QMP: ${line.slice(0, 200)}`)
    } else if (message.event !== undefined) {
      this.#emit({ data: {}, ...message } as QmpEvent)
    } else {
      const pending = this.#pending.get(message.id as number)
      const { error } = message
      if (error === undefined) pending?.resolve(message.return)
      else pending?.reject(refused(pending.command, `${error.class}: ${error.desc}`))
    }
  }

  #emit(event: QmpEvent): void {
    for (const listener of [...(this.#listeners.get(event.event) ?? []), ...this.#anyListeners]) {
      try {
        listener(event)
      } catch (error) {
        // Not an uncaught error: the data of an event are whatever a compromised QEMU sends.
        this.close(
          `a listener of the QMP event ${event.event.slice(0, 100)} failed: ${String(error).slice(0, 200)}`,
        )
      }
    }
  }
}

/** Gives undefined for what is not of the form of any message. */
function parseMessage(line: string): QmpMessage | undefined {
  const message = parseObject<QmpMessage>(line)
  if (message === undefined) return undefined
  const { QMP, event, data, error, timestamp } = message as { readonly [name: string]: unknown }
  const isOfForm =
    (QMP === undefined || isGreeting(QMP)) &&
    (event === undefined || typeof event === 'string') &&
    (data === undefined || isRecord(data)) &&
    (timestamp === undefined || isRecordOfNumbers(timestamp)) &&
    (error === undefined ||
      (isRecord(error) && typeof error.class === 'string' && typeof error.desc === 'string'))
  return isOfForm ? message : undefined
}

function isGreeting(value: unknown): boolean {
  if (!isRecord(value) || !isRecord(value.version)) return false
  const { version, capabilities } = value
  const { qemu, package: build } = version as Readonly<Record<string, unknown>>
  const isVersion = ['major', 'minor', 'micro'].every((part) => {
    return typeof (qemu as Record<string, unknown> | null | undefined)?.[part] === 'number'
  })
  return isVersion && typeof build === 'string' && Array.isArray(capabilities)
}

function isRecordOfNumbers(value: unknown): boolean {
  return isRecord(value) && Object.values(value).every((part) => typeof part === 'number')
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const CLOSED = 'the QMP connection is closed'
const CLOSED_HINT = 'QEMU ended, or the guest was disposed of: see how it ended before this.'

function closedError(summary: string): Error {
  return vmError('QMP_FAILED', { summary, hint: CLOSED_HINT })
}

function refused(command: string, got: string): Error {
  const isUnknown = got.startsWith('CommandNotFound')
  return vmError('QMP_FAILED', {
    summary: `the QMP command ${command} failed`,
    got,
    hint: got.includes('connection')
      ? CLOSED_HINT
      : isUnknown
        ? 'This QEMU has no such command: `query-commands` lists those it has.'
        : "Look the command up in QEMU's QMP reference, for the version that runs here.",
  })
}

function noGreeting(got: string): Error {
  return vmError('QMP_FAILED', {
    summary: 'QEMU did not greet on its QMP socket',
    expected: '{"QMP": {"version": …}}',
    got,
    hint: "See QEMU's own output for why it ended or hangs.",
  })
}
