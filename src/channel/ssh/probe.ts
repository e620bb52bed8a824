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
   * True if the connection was closed without a banner: the network of the guest works, but no
   * server listens on the port.
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
 * Intervals of probes if the guest has announced its server, the first and later ones: each
 * connection costs an emulated guest 50 ms and more. A server that is silent for a second is
 * usually busy.
 */
const AWAKE_INTERVALS_MS = { first: 1000, later: 4000 } as const
/**
 * Limits once the network of the guest works, or its server has been announced. A silent server is
 * then a busy one: further connections slow it down, and OpenSSH drops some from the tenth on with
 * an error (`MaxStartups`). So fewer probes run at a time, each with a longer timeout.
 */
const SERVER_UP = { maxProbes: 3, maxConnections: 6 } as const
/** Factors of a probe's timeout: before and after an announcement, and once the network works. */
const TIMEOUT_FACTORS = { unknown: 1, awake: 5, networkUp: 10 } as const
/**
 * Identification that a probe sends before it ends an unneeded connection. Without one, OpenSSH
 * logs an error (`kex_exchange_identification`). It ends connections of `Probe-*` before the key
 * exchange, with messages of level `info` (SSH_BUG_PROBE in its compat.c).
 */
const IDENTIFICATION = 'SSH-2.0-Probe-withvm\r\n'
/**
 * Limits of unneeded connections until the server ends them. The server of a busy guest may first
 * have to start a process, and sends its algorithms, about 1 KiB.
 */
const ENDING = { maxSockets: 32, maxBytes: 16_384, timeoutMs: 120_000 } as const

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
  const open = new Set<() => void>()
  const ending = new Set<Socket>()
  let isNetworkUp = false
  let isAwake = options.isAwake ?? false
  let intervalMs: number = isAwake ? AWAKE_INTERVALS_MS.first : options.intervalMs
  let timer: NodeJS.Timeout | undefined
  let onAbort = () => {}
  try {
    return await new Promise<SshBanner>((resolve, reject) => {
      onAbort = () => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      const probe = () => {
        const state = isNetworkUp ? 'networkUp' : isAwake ? 'awake' : 'unknown'
        const { maxProbes, maxConnections } = SERVER_UP
        if (state === 'unknown' || (open.size < maxProbes && open.size + ending.size < maxConnections))
          startProbe(options, TIMEOUT_FACTORS[state], { open, ending, resolve, onFailure })
        timer = setTimeout(probe, intervalMs)
        if (isAwake) intervalMs = AWAKE_INTERVALS_MS.later
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
          intervalMs = AWAKE_INTERVALS_MS.first
          isAwake = true
          probe()
        },
        () => {},
      )
      probe()
    })
  } finally {
    clearTimeout(timer)
    timer = undefined
    signal.removeEventListener('abort', onAbort)
    for (const end of open) end()
  }
}

/** Probes of one wait. */
interface ProbeRun {
  /** Functions that end the probes without a result. */
  readonly open: Set<() => void>
  /** Unneeded connections that the server has not ended yet, oldest first. */
  readonly ending: Set<Socket>
  readonly resolve: (found: SshBanner) => void
  readonly onFailure: (isRefused: boolean) => void
}

/**
 * Ends an unneeded connection such that the server logs no error: sends an identification and, in
 * the background, lets the server end the connection, which it may not even have accepted yet. The
 * connection does not keep this process alive, and ends with QEMU.
 */
function endPolitely(socket: Socket, ending: Set<Socket>): void {
  if (socket.destroyed) return
  let bytes = 0
  const timer = setTimeout(() => socket.destroy(), ENDING.timeoutMs).unref()
  socket.once('close', () => {
    clearTimeout(timer)
    ending.delete(socket)
  })
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > ENDING.maxBytes) socket.destroy()
  })
  socket.unref().resume().end(IDENTIFICATION)
  ending.add(socket)
  const [oldest] = ending
  if (ending.size > ENDING.maxSockets) oldest?.destroy()
}

function startProbe(options: ProbeOptions, timeoutFactor: number, run: ProbeRun): void {
  const { host = '127.0.0.1', port } = options
  const probeTimeoutMs = (options.probeTimeoutMs ?? DEFAULT_PROBE_TIMEOUT_MS) * timeoutFactor
  const socket = connect({ host, port, noDelay: true })
  let received = Buffer.alloc(0)
  let isOver = false
  const stop = () => {
    isOver = true
    clearTimeout(timer)
    socket.off('data', onData)
    run.open.delete(endEarly)
  }
  const endEarly = () => {
    stop()
    endPolitely(socket, run.ending)
  }
  run.open.add(endEarly)
  const end = (text: string, isRefused = false) => {
    if (isOver) return
    stop()
    options.onResult?.({ text, isRefused })
    if (text.startsWith('SSH-')) return
    endPolitely(socket, run.ending)
    run.onFailure(isRefused)
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
    end(banner)
    if (options.keepSocket) {
      socket.pause().removeAllListeners('close')
      socket.unshift(received)
    } else {
      endPolitely(socket, run.ending)
    }
    run.resolve({ banner, socket: options.keepSocket ? socket : undefined })
  }
  socket.on('data', onData)
}

function describeError(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'the connection was refused: QEMU does not forward this port'
  if (error.code === 'ECONNRESET') return 'the connection was reset: nothing listens in the guest yet'
  return error.message
}
