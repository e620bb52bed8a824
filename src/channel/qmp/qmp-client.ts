import type { Socket } from 'node:net'
import type { Calls } from '../../common/calls/calls.js'
import { traceCalls } from '../../common/calls/trace-calls.js'
import { withDeadline } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { isRecord } from '../../common/is-record.js'
import { MIB } from '../../common/units.js'
import { vmError } from '../../errors.js'
import { parseObject, readLines } from '../json-lines.js'
import type { QmpCommands, QmpEvent, QmpGreeting } from './qmp-commands.js'

/**
 * Receives each line of QMP traffic, without its line end. `direction` is relative to this process.
 */
export type QmpLog = (direction: 'sent' | 'received', line: string) => void

/** Options of `vm.qmp.waitForEvent()`. */
export interface QmpWait {
  /** Timeout in milliseconds. @default 30000 */
  readonly timeoutMs?: number | undefined
  /** Aborts the wait. */
  readonly signal?: AbortSignal | undefined
}

/** Message of QEMU: the greeting, a response, an error or an event. */
interface QmpMessage extends Partial<QmpEvent> {
  readonly QMP?: QmpGreeting
  readonly id?: unknown
  readonly return?: unknown
  readonly error?: { readonly class: string; readonly desc: string }
}

interface PendingCommand extends Deferred<unknown> {
  readonly command: string
}

const DEFAULT_TIMEOUT_MS = 30_000
/**
 * Maximum length of a response: more than the complete memory map printed by
 * `human-monitor-command`. The response to `query-qmp-schema` has 0.3 Mi characters.
 */
const MAX_RESPONSE_CHARS = 4 * MIB

/**
 * QMP connection to the monitor of a QEMU. Commands can run concurrently and are sent in the order
 * of the calls.
 */
export class QmpClient {
  static {
    traceCalls(QmpClient, 'vm.qmp', ['execute', 'waitForEvent'])
  }

  /** QEMU's greeting: its version and capabilities. */
  readonly greeting: QmpGreeting
  /** @internal Calls of the guest that this object belongs to. */
  calls: Calls | undefined
  readonly #socket: Socket
  readonly #log: QmpLog | undefined
  readonly #pending = new Map<number, PendingCommand>()
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
   * @internal Reads QEMU's greeting and leaves the capabilities negotiation mode.
   *
   * @throws {InfrastructureError} QMP_FAILED when the peer closes the connection, does not respond
   *   in time or is not a QMP server.
   */
  static async negotiate(
    socket: Socket,
    options: {
      readonly timeoutMs: number
      readonly signal?: AbortSignal | undefined
      readonly log?: QmpLog | undefined
    },
  ): Promise<QmpClient> {
    const { timeoutMs, log } = options
    const greeted = createDeferred<QmpClient>()
    let client: QmpClient | undefined
    const lose = (cause?: Error) => {
      const reason = cause === undefined ? 'closed by the peer' : cause.message
      greeted.reject(noGreetingError(`the end of the connection: ${reason}`))
      client?.close(reason)
    }
    socket.on('error', lose).on('close', () => lose())
    if (socket.destroyed) lose()
    const onTooLong = () => {
      greeted.reject(noGreetingError('a line that is longer than any QMP message'))
      client?.close('QEMU sent a line that is longer than any QMP message')
    }
    const onLine = (line: string) => {
      log?.('received', line)
      const message = parseMessage(line)
      if (client !== undefined) return client.#receive(message, line)
      if (message?.QMP === undefined) return greeted.reject(noGreetingError(line.slice(0, 200)))
      const { version, capabilities } = message.QMP
      client = new QmpClient(socket, { version: { ...version }, capabilities }, log)
      greeted.resolve(client)
    }
    readLines(socket, { onLine, onTooLong, maxChars: () => MAX_RESPONSE_CHARS })
    const onTimeout = () => noGreetingError(`nothing for ${formatDuration(timeoutMs)}`)
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

  /** @internal If true, the connection is closed. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** @internal Rejects with QMP_FAILED when the connection is closed; never resolves. */
  get closed(): Promise<never> {
    return this.#closed.promise
  }

  /**
   * Runs a command and returns QEMU's result.
   *
   * @throws {InfrastructureError} QMP_FAILED when QEMU returns an error or does not respond in
   *   time, or when the connection is closed.
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
    if (this.#isClosed) throw qmpCommandError(command, 'a closed QMP connection')
    const id = this.#nextId++
    const pending: PendingCommand = { ...createDeferred<unknown>(), command }
    pending.promise.catch(() => {})
    this.#pending.set(id, pending)
    const line = JSON.stringify({ execute: command, arguments: args, id })
    this.#log?.('sent', line)
    this.#socket.write(`${line}\n`)
    const onTimeout = () => qmpCommandError(command, `no response within ${formatDuration(timeoutMs)}`)
    try {
      return await withDeadline({ timeoutMs, signal: options.signal, onTimeout }, () => pending.promise)
    } finally {
      this.#pending.delete(id)
    }
  }

  /** Calls `listener` for each event of that name. Returns a function that removes the listener. */
  on(event: string, listener: (event: QmpEvent) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, listeners.add(listener))
    return () => void listeners.delete(listener)
  }

  /** Calls `listener` for every event. Returns a function that removes the listener. */
  onAny(listener: (event: QmpEvent) => void): () => void {
    this.#anyListeners.add(listener)
    return () => void this.#anyListeners.delete(listener)
  }

  /**
   * Waits for the next event of that name. Call it before the command that causes the event, and
   * await it after.
   *
   * @throws {InfrastructureError} QMP_FAILED when the event does not occur in time or the
   *   connection is closed.
   */
  waitForEvent(
    name: string,
    options: QmpWait & { readonly predicate?: ((event: QmpEvent) => boolean) | undefined } = {},
  ): Promise<QmpEvent> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, predicate, signal } = options
    const matched = createDeferred<QmpEvent>()
    const stop = this.on(name, (event) => {
      try {
        if (predicate?.(event) ?? true) matched.resolve(event)
      } catch (error) {
        matched.reject(error)
      }
    })
    const onTimeout = () =>
      vmError('QMP_FAILED', {
        summary: `The QMP event ${name} did not occur within ${formatDuration(timeoutMs)}.`,
        hint: 'Start the wait before the command that causes the event.',
      })
    if (this.#isClosed) matched.reject(closedError())
    this.#waits.add(matched)
    const wait = withDeadline({ timeoutMs, signal, onTimeout }, () => matched.promise).finally(() => {
      this.#waits.delete(matched)
      stop()
    })
    wait.catch(() => {}) // it may reject before the caller awaits it
    return wait
  }

  /** @internal Closes the connection and rejects pending commands and waits. Idempotent. */
  close(reason = 'closed by withvm'): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.destroy()
    const got = `the end of the QMP connection: ${reason}`
    for (const pending of this.#pending.values()) pending.reject(qmpCommandError(pending.command, got))
    const error = closedError(reason)
    for (const wait of this.#waits) wait.reject(error)
    this.#closed.reject(error)
  }

  #receive(message: QmpMessage | undefined, line: string): void {
    if (message === undefined) {
      this.close(`QEMU sent a line that is not QMP: ${line.slice(0, 200)}`)
    } else if (message.event !== undefined) {
      this.#emit({ data: {}, ...message } as QmpEvent)
    } else {
      const pending = this.#pending.get(message.id as number)
      const { error } = message
      if (error === undefined) pending?.resolve(message.return)
      else
        pending?.reject(
          qmpCommandError(pending.command, `${error.class}: ${error.desc}`.slice(0, MAX_ERROR_CHARS)),
        )
    }
  }

  #emit(event: QmpEvent): void {
    for (const listener of [...(this.#listeners.get(event.event) ?? []), ...this.#anyListeners]) {
      try {
        listener(event)
      } catch (error) {
        // Not an uncaught error: a compromised QEMU can send events with any data.
        this.close(
          `a listener of the QMP event ${event.event.slice(0, 100)} failed: ${String(error).slice(0, 200)}`,
        )
      }
    }
  }
}

/** Returns undefined for a line that is not a QMP message. */
function parseMessage(line: string): QmpMessage | undefined {
  const message = parseObject<QmpMessage>(line)
  if (message === undefined) return undefined
  const { QMP, event, data, error, timestamp } = message as { readonly [name: string]: unknown }
  const isValid =
    (QMP === undefined || isGreeting(QMP)) &&
    (event === undefined || typeof event === 'string') &&
    (data === undefined || isRecord(data)) &&
    (timestamp === undefined || isRecordOfNumbers(timestamp)) &&
    (error === undefined ||
      (isRecord(error) && typeof error.class === 'string' && typeof error.desc === 'string'))
  return isValid ? message : undefined
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

/**
 * Maximum length of an error text. QEMU may be compromised, and callers match patterns against the
 * text.
 */
const MAX_ERROR_CHARS = 1000

const CLOSED_HINT = 'Look for an earlier error: QEMU has ended, or the guest was disposed.'

function closedError(reason?: string): Error {
  const summary = `The QMP connection is closed${reason === undefined ? '' : `: ${reason}`}.`
  return vmError('QMP_FAILED', { summary, hint: CLOSED_HINT })
}

function qmpCommandError(command: string, got: string): Error {
  const isUnknown = got.startsWith('CommandNotFound')
  return vmError('QMP_FAILED', {
    summary: `The QMP command ${command} failed.`,
    got,
    hint: got.includes('connection')
      ? CLOSED_HINT
      : isUnknown
        ? 'Use a command that this QEMU supports: `query-commands` lists them.'
        : 'Look up the command in the QMP reference of the installed QEMU version.',
  })
}

function noGreetingError(got: string): Error {
  return vmError('QMP_FAILED', {
    summary: 'QEMU did not send a greeting on its QMP socket.',
    expected: '`{"QMP": {"version": …}}`',
    got,
    hint: 'Read the output of QEMU for the reason.',
  })
}
