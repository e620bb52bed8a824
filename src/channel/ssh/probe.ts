import { connect, type Socket } from 'node:net'
import { formatDuration } from '../../common/duration.js'

export interface ProbeOptions {
  /** @default '127.0.0.1' */
  readonly host?: string
  readonly port: number
  /** How often a new probe starts. */
  readonly intervalMs: number
  /** How long one probe waits for the server to say who it is. @default 3000 */
  readonly probeTimeoutMs?: number
  /** Ends the wait: it has no deadline of its own. */
  readonly signal: AbortSignal
  /** Resolves when the guest says that its server listens: the next probe starts at once. */
  readonly wake?: Promise<unknown> | undefined
  /** The guest has said already that its server listens. @default false */
  readonly isAwake?: boolean
  /** Gets the result of each probe, for the message of a wait that fails. */
  readonly onResult?: (result: ProbeResult) => void
  /** Keeps the connection of the probe that found the server open and gives it: saves the guest another one. */
  readonly keepSocket?: boolean
}

/** What came of one probe. */
export interface ProbeResult {
  /** The server's banner, or what there was instead. */
  readonly text: string
  /** Something ended the connection: the guest has a network, in which nothing listens on that port. */
  readonly isRefused: boolean
}

export interface SshBanner {
  /** As `SSH-2.0-dropbear_2022.83`. */
  readonly banner: string
  /** With `keepSocket`: the caller's, with the banner put back to be read again. */
  readonly socket: Socket | undefined
}

const DEFAULT_PROBE_TIMEOUT_MS = 3000
/** The guest has just said that its server is up: where a probe fails all the same, the next follows soon. */
const AWAKE_RETRY_MS = 50
/** But one that is under way is given time: each connection costs the guest a process, an emulated one 50 ms and more. */
const AWAKE_INTERVAL_MS = 1000
/**
 * Where the guest's network works, silence is a server that is busy: more connections make it busier, and OpenSSH throws some
 * away from the tenth on (`MaxStartups`). So there are this many at a time, and each is given longer.
 */
const ALIVE = { probes: 3, timeoutShare: 10 } as const

/**
 * Waits until an SSH server answers on a forwarded port.
 *
 * QEMU's user network accepts a connection before anything in the guest listens, and one that came too early may
 * hang for seconds. So each probe has its own time-out, and the next does not wait for it.
 */
export async function waitForSshBanner(options: ProbeOptions): Promise<SshBanner> {
  const { signal } = options
  signal.throwIfAborted()
  const open = new Set<Socket>()
  let isAlive = false
  let isAwake = options.isAwake ?? false
  let intervalMs = isAwake ? AWAKE_INTERVAL_MS : options.intervalMs
  let timer: NodeJS.Timeout | undefined
  let onAbort = () => {}
  try {
    return await new Promise<SshBanner>((resolve, reject) => {
      onAbort = () => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      const probe = () => {
        const share = isAlive ? ALIVE.timeoutShare : 1
        if (!isAlive || open.size < ALIVE.probes) startProbe(options, share, open, resolve, onFailure)
        timer = setTimeout(probe, intervalMs)
      }
      const onFailure = (isRefused: boolean) => {
        isAlive ||= isRefused
        if (!isAwake || timer === undefined) return
        clearTimeout(timer)
        timer = setTimeout(probe, AWAKE_RETRY_MS)
      }
      options.wake?.then(
        () => {
          if (timer === undefined || isAwake) return
          clearTimeout(timer)
          intervalMs = AWAKE_INTERVAL_MS
          probe()
          isAwake = true
        },
        () => {},
      )
      probe()
    })
  } finally {
    clearTimeout(timer)
    timer = undefined
    signal.removeEventListener('abort', onAbort)
    for (const socket of open) socket.destroy()
  }
}

function startProbe(
  options: ProbeOptions,
  timeoutShare: number,
  open: Set<Socket>,
  resolve: (found: SshBanner) => void,
  onFailure: (isRefused: boolean) => void,
): void {
  const { host = '127.0.0.1', port } = options
  const probeTimeoutMs = (options.probeTimeoutMs ?? DEFAULT_PROBE_TIMEOUT_MS) * timeoutShare
  const socket = connect({ host, port, noDelay: true })
  open.add(socket)
  let seen = Buffer.alloc(0)
  let isOver = false
  const end = (text: string, isRefused = false) => {
    if (isOver) return
    isOver = true
    clearTimeout(timer)
    open.delete(socket)
    // What ends because the wait does says nothing of the guest.
    if (!options.signal.aborted) options.onResult?.({ text, isRefused })
    if (text.startsWith('SSH-')) return
    socket.destroy()
    onFailure(isRefused)
  }
  const timer = setTimeout(
    () => end(`the connection was accepted, then silent for ${formatDuration(probeTimeoutMs)}`),
    probeTimeoutMs,
  )
  socket.on('error', (error: NodeJS.ErrnoException) => end(describeError(error), error.code === 'ECONNRESET'))
  socket.on('close', () =>
    end('the connection was accepted, then closed: nothing in the guest listens yet', true),
  )
  const onData = (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk])
    // A server may send other lines before its banner (RFC 4253, 4.2).
    const banner = /^SSH-[^\r\n]*(?=\r?\n)/m.exec(seen.toString('latin1'))?.[0]
    if (banner === undefined) {
      if (seen.length > 8192) end(`no SSH server: it says ${JSON.stringify(seen.toString('latin1', 0, 60))}`)
      return
    }
    socket.off('data', onData).pause()
    end(banner)
    if (options.keepSocket) {
      socket.removeAllListeners('close')
      socket.unshift(seen)
    } else {
      socket.destroy()
    }
    resolve({ banner, socket: options.keepSocket ? socket : undefined })
  }
  socket.on('data', onData)
}

function describeError(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'the connection was refused: QEMU does not forward this port'
  if (error.code === 'ECONNRESET') return 'the connection was reset: nothing in the guest listens yet'
  return error.message
}
