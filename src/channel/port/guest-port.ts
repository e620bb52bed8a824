import type { Socket } from 'node:net'
import { withDeadline } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { type Duration, formatDuration, parseDuration } from '../../common/duration.js'
import { vmError } from '../../errors.js'

/** How long to wait for what comes from a port. */
export interface PortWait {
  /** How long. @default 30 s, stretched on a slow host */
  readonly timeout?: Duration
  /** Ends the wait early. @default none */
  readonly signal?: AbortSignal
}

/** What is kept of what came: the newest bytes. */
const KEPT_BYTES = 8 * 1024 ** 2

/** This end of a character device of the guest: bytes cross both ways. */
export class GuestPort {
  readonly name: string
  readonly #defaultWaitMs: number
  #socket: Socket | undefined
  #received = Buffer.alloc(0)
  #awaited = new Set<Deferred<void>>()

  constructor(name: string, { defaultWaitMs }: { readonly defaultWaitMs: number }) {
    this.name = name
    this.#defaultWaitMs = defaultWaitMs
  }

  /** Talks over a connection of QEMU's, in place of the one before. Internal. */
  attach(socket: Socket): void {
    this.close()
    this.#socket = socket
    socket.on('error', () => {}) // 'close' follows
    socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes]).subarray(-KEPT_BYTES)
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
    return this.#received
  }

  /** What the guest has written, as text. */
  get text(): string {
    return this.#received.toString()
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
   * Waits until what the guest has written holds a text, or matches a pattern. What came before counts too.
   * @throws {GuestError} WAIT_TIMEOUT with what came in its place.
   */
  async waitFor(pattern: string | RegExp, { timeout, signal }: PortWait = {}): Promise<string> {
    const timeoutMs =
      timeout === undefined ? this.#defaultWaitMs : (parseDuration(timeout) ?? this.#defaultWaitMs)
    const onTimeout = () => this.#missed(pattern, timeoutMs)
    return withDeadline({ timeoutMs, signal, onTimeout }, async (over) => {
      for (;;) {
        over.throwIfAborted()
        const found = find(this.text, pattern)
        if (found !== undefined) return found
        const waiter = createDeferred<void>()
        this.#awaited.add(waiter)
        await waiter.promise.finally(() => this.#awaited.delete(waiter))
      }
    })
  }

  #missed(pattern: string | RegExp, timeoutMs: number) {
    for (const waiter of this.#awaited) waiter.resolve()
    return vmError('WAIT_TIMEOUT', {
      summary: `${typeof pattern === 'string' ? JSON.stringify(pattern) : pattern} did not come from the port '${this.name}' within ${formatDuration(timeoutMs)}.`,
      got: this.#received.length === 0 ? 'nothing' : JSON.stringify(this.text.slice(-200)),
      hint: 'does the guest write to the device of this port?',
    })
  }
}

function find(text: string, pattern: string | RegExp): string | undefined {
  if (typeof pattern === 'string') return text.includes(pattern) ? pattern : undefined
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).exec(text)?.[0]
}
