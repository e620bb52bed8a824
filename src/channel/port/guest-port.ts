import type { Socket } from 'node:net'
import { withDeadline } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { type Duration, formatDuration, parseDuration } from '../../common/duration.js'
import { type BoundWait, boundWait, type WaitLimit } from '../../common/wait-limit.js'
import { vmError } from '../../errors.js'

/** How long to wait for what comes from a port. */
export interface PortWait {
  /** How long. In Vitest, every wait ends before its test does. @default '30s', on a slow host up to two minutes */
  readonly timeout?: Duration
  /** Ends the wait early. @default none */
  readonly signal?: AbortSignal
  /** Where to look from: a mark, the first byte, or only what comes from now on. @default 'start' */
  readonly from?: PortMark | 'start' | 'now'
}

/** A position in what a guest writes to a port, from {@link GuestPort.mark}. */
export interface PortMark {
  /** Bytes before it, over all power-ons. */
  readonly offset: number
}

/** What is kept of what came: the newest bytes. */
const KEPT_BYTES = 8 * 1024 ** 2
const LEAST_BUFFER_BYTES = 4096

/** This end of a character device of the guest: bytes cross both ways. */
export class GuestPort {
  readonly name: string
  readonly #defaultWaitMs: number
  readonly #waitLimit: WaitLimit
  #socket: Socket | undefined
  /** Holds up to twice what is kept, so that the oldest bytes are dropped by one copy now and then. */
  #buffer = Buffer.alloc(0)
  #end = 0
  /** Bytes that came in all, those that are not kept any more included. */
  #receivedBytes = 0
  #awaited = new Set<Deferred<void>>()

  constructor(name: string, options: { readonly defaultWaitMs: number; readonly waitLimit?: WaitLimit }) {
    this.name = name
    this.#defaultWaitMs = options.defaultWaitMs
    this.#waitLimit = options.waitLimit ?? (() => Number.POSITIVE_INFINITY)
  }

  /** Talks over a connection of QEMU's, in place of the one before. Internal. */
  attach(socket: Socket): void {
    this.close()
    this.#socket = socket
    socket.on('error', () => {}) // 'close' follows
    socket.on('data', (bytes: Buffer) => {
      this.#receivedBytes += bytes.length
      this.#append(bytes)
      for (const waiter of this.#awaited) waiter.resolve()
    })
  }

  /** Ends the connection. Internal; safe to call again. */
  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  /** What the guest has written, of all power-ons; of more than 8 MiB the newest. */
  get received(): Buffer {
    return this.#buffer.subarray(Math.max(0, this.#end - KEPT_BYTES), this.#end)
  }

  /** What the guest has written, as text. */
  get text(): string {
    return this.received.toString()
  }

  /** Returns the position after everything that has come so far. */
  mark(): PortMark {
    return { offset: this.#receivedBytes }
  }

  /** Returns what the guest has written since a mark, as text. */
  since(mark: PortMark): string {
    const { received } = this
    const keptFrom = this.#receivedBytes - received.length
    return received.toString('utf8', Math.max(0, mark.offset - keptFrom))
  }

  /**
   * Writes to the guest. Resolves when QEMU has the bytes.
   * @throws {UsageError} VM_NOT_RUNNING when the guest is switched off.
   */
  async write(data: string | Uint8Array): Promise<void> {
    const socket = this.#socket
    const fail = (cause?: Error) =>
      vmError('VM_NOT_RUNNING', {
        summary: `Nothing can be written to the port '${this.name}': the guest does not run.`,
        hint: 'start it first, by vm.start().',
        cause,
      })
    if (socket === undefined || socket.destroyed) throw fail()
    await new Promise<void>((resolve, reject) => {
      socket.write(data, (error) => (error == null ? resolve() : reject(fail(error))))
    })
  }

  /**
   * Waits until what the guest has written contains a text, or matches a pattern: from the first byte on, unless `from` says
   * otherwise.
   * @throws {GuestError} WAIT_TIMEOUT with what came instead.
   * @example
   * const before = port.mark()
   * await port.write('status\n')
   * await port.waitFor(/^ok$/m, { from: before })
   */
  async waitFor(pattern: string | RegExp, options: PortWait = {}): Promise<string> {
    const { timeout, signal, from = 'start' } = options
    const longest =
      timeout === undefined ? this.#defaultWaitMs : (parseDuration(timeout) ?? this.#defaultWaitMs)
    const wait = boundWait(longest, this.#waitLimit)
    const mark = from === 'start' ? { offset: 0 } : from === 'now' ? this.mark() : from
    const onTimeout = () => this.#missed(pattern, mark, wait)
    return withDeadline({ timeoutMs: wait.timeoutMs, signal, onTimeout }, async (over) => {
      for (;;) {
        over.throwIfAborted()
        const found = find(this.since(mark), pattern)
        if (found !== undefined) return found
        const waiter = createDeferred<void>()
        this.#awaited.add(waiter)
        await waiter.promise.finally(() => this.#awaited.delete(waiter))
      }
    })
  }

  #append(bytes: Buffer): void {
    if (this.#end + bytes.length > this.#buffer.length) {
      // A new buffer, as the old one may be in the hands of a caller.
      const kept = this.received
      const buffer = Buffer.alloc(Math.max(LEAST_BUFFER_BYTES, 2 * (kept.length + bytes.length)))
      kept.copy(buffer)
      this.#buffer = buffer
      this.#end = kept.length
    }
    bytes.copy(this.#buffer, this.#end)
    this.#end += bytes.length
  }

  #missed(pattern: string | RegExp, mark: PortMark, { timeoutMs, hint }: BoundWait) {
    for (const waiter of this.#awaited) waiter.resolve()
    const text = this.since(mark)
    return vmError('WAIT_TIMEOUT', {
      summary: `${typeof pattern === 'string' ? JSON.stringify(pattern) : pattern} did not come from the port '${this.name}' within ${formatDuration(timeoutMs)}.`,
      got: text === '' ? 'nothing' : JSON.stringify(text.slice(-200)),
      hint: hint ?? 'does the guest write to the device of this port?',
    })
  }
}

function find(text: string, pattern: string | RegExp): string | undefined {
  if (typeof pattern === 'string') return text.includes(pattern) ? pattern : undefined
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).exec(text)?.[0]
}
