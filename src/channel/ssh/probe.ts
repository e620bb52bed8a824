import { connect, type Socket } from 'node:net'
import { formatDuration } from '../../common/duration.js'

export interface ProbeOptions {
  /** Host name or address of the server. @default '127.0.0.1' */
  readonly host?: string
  readonly port: number
  /** Interval at which probes start. */
  readonly intervalMs: number
  /** Time for which one probe waits for the banner. @default 3000 */
  readonly probeTimeoutMs?: number
  /** Ends the wait, which has no other deadline. */
  readonly signal: AbortSignal
  /**
   * Resolves when the guest announces that its server listens. The next probe then starts at once.
   */
  readonly wake?: Promise<unknown> | undefined
  /** If true, the guest has already announced that its server listens. @default false */
  readonly isAwake?: boolean
  /** Receives the result of each probe, for the error of a wait that fails. */
  readonly onResult?: (result: ProbeResult) => void
  /**
   * If true, returns the open connection of the successful probe, which saves the guest a second
   * one.
   */
  readonly keepSocket?: boolean
}

/** Result of one probe. */
export interface ProbeResult {
  /** Banner of the server, or a description of the failure. */
  readonly text: string
  /**
   * True if the connection was ended: the network of the guest works, but nothing listens on the
   * port.
   */
  readonly isRefused: boolean
}

export interface SshBanner {
  /** Identification string, such as `SSH-2.0-dropbear_2022.83`. */
  readonly banner: string
  /** With `keepSocket`: connection owned by the caller, from which the banner can be read again. */
  readonly socket: Socket | undefined
}

const DEFAULT_PROBE_TIMEOUT_MS = 3000
/** Delay after a failed probe if the guest has announced its server. */
const AWAKE_RETRY_MS = 50
/**
 * Interval of probes if the guest has announced its server: each connection costs an emulated guest
 * 50 ms and more.
 */
const AWAKE_INTERVAL_MS = 1000
/**
 * Limits once the network of the guest works. A silent server is then a busy one: further
 * connections slow it down, and OpenSSH drops some from the tenth on (`MaxStartups`). So fewer
 * probes run at a time, each with a longer timeout.
 */
const NETWORK_UP = { maxProbes: 3, timeoutFactor: 10 } as const

/**
 * Waits until an SSH server responds on a forwarded port.
 *
 * QEMU's user-mode network accepts connections before a server listens in the guest, and an early
 * connection may hang for seconds. So each probe has its own timeout, and the next probe does not
 * wait for it.
 */
export async function waitForSshBanner(options: ProbeOptions): Promise<SshBanner> {
  const { signal } = options
  signal.throwIfAborted()
  const open = new Set<Socket>()
  let isNetworkUp = false
  let isAwake = options.isAwake ?? false
  let intervalMs = isAwake ? AWAKE_INTERVAL_MS : options.intervalMs
  let timer: NodeJS.Timeout | undefined
  let onAbort = () => {}
  try {
    return await new Promise<SshBanner>((resolve, reject) => {
      onAbort = () => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      const probe = () => {
        const factor = isNetworkUp ? NETWORK_UP.timeoutFactor : 1
        if (!isNetworkUp || open.size < NETWORK_UP.maxProbes)
          startProbe(options, factor, open, resolve, onFailure)
        timer = setTimeout(probe, intervalMs)
      }
      const onFailure = (isRefused: boolean) => {
        isNetworkUp ||= isRefused
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
  timeoutFactor: number,
  open: Set<Socket>,
  resolve: (found: SshBanner) => void,
  onFailure: (isRefused: boolean) => void,
): void {
  const { host = '127.0.0.1', port } = options
  const probeTimeoutMs = (options.probeTimeoutMs ?? DEFAULT_PROBE_TIMEOUT_MS) * timeoutFactor
  const socket = connect({ host, port, noDelay: true })
  open.add(socket)
  let received = Buffer.alloc(0)
  let isOver = false
  const end = (text: string, isRefused = false) => {
    if (isOver) return
    isOver = true
    clearTimeout(timer)
    open.delete(socket)
    // A probe that ends because the wait was aborted has no result.
    if (!options.signal.aborted) options.onResult?.({ text, isRefused })
    if (text.startsWith('SSH-')) return
    socket.destroy()
    onFailure(isRefused)
  }
  const timer = setTimeout(
    () => end(`the connection was accepted, then no banner for ${formatDuration(probeTimeoutMs)}`),
    probeTimeoutMs,
  )
  socket.on('error', (error: NodeJS.ErrnoException) => end(describeError(error), error.code === 'ECONNRESET'))
  socket.on('close', () =>
    end('the connection was accepted, then closed: nothing listens in the guest yet', true),
  )
  const onData = (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    // A server may send other lines before its banner (RFC 4253, 4.2).
    const banner = /^SSH-[^\r\n]*(?=\r?\n)/m.exec(received.toString('latin1'))?.[0]
    if (banner === undefined) {
      if (received.length > 8192)
        end(`not an SSH server: it sent ${JSON.stringify(received.toString('latin1', 0, 60))}`)
      return
    }
    socket.off('data', onData).pause()
    end(banner)
    if (options.keepSocket) {
      socket.removeAllListeners('close')
      socket.unshift(received)
    } else {
      socket.destroy()
    }
    resolve({ banner, socket: options.keepSocket ? socket : undefined })
  }
  socket.on('data', onData)
}

function describeError(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'the connection was refused: QEMU does not forward this port'
  if (error.code === 'ECONNRESET') return 'the connection was reset: nothing listens in the guest yet'
  return error.message
}
