import { spawn } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { constants } from 'node:os'

interface Request {
  readonly execute: string
  readonly arguments?: Record<string, unknown>
}

export interface AgentPeer {
  readonly socket: Socket
  /** Received commands, in order. */
  readonly received: string[]
  /** While true, the peer ignores requests. */
  isSilent: boolean
  /** Late responses to earlier commands, sent before the next response. */
  readonly stale: string[]
}

/**
 * Starts a guest agent that runs its commands on this host. It has the wire format of qemu-ga 7.2: one request at a
 * time, 0xFF as a reset, and no ids.
 */
export function startAgentPeer(path: string): AgentPeer {
  const socket = connect(path)
  const peer: AgentPeer = { socket, received: [], isSilent: false, stale: [] }
  const processes = new Map<number, object>()
  let rest = Buffer.alloc(0)
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    if (peer.isSilent) return
    rest = Buffer.concat([rest, chunk])
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      const line = rest.subarray(0, end)
      rest = rest.subarray(end + 1)
      const reset = line.lastIndexOf(0xff)
      respond(JSON.parse(line.subarray(reset + 1).toString()) as Request)
    }
  })

  function respond({ execute, arguments: args = {} }: Request): void {
    peer.received.push(execute)
    for (const line of peer.stale.splice(0)) socket.write(line)
    const reply = (value: unknown) => socket.write(`${JSON.stringify({ return: value })}\n`)
    if (execute === 'guest-sync-delimited') {
      socket.write(Buffer.from([0xff]))
      reply(args.id)
    } else if (execute === 'guest-ping') {
      reply({})
    } else if (execute === 'guest-exec') {
      reply({ pid: run(args) })
    } else if (execute === 'guest-exec-status') {
      reply(processes.get(args.pid as number))
    } else if (execute !== 'guest-shutdown') {
      const desc = `The command ${execute} has not been found`
      socket.write(`${JSON.stringify({ error: { class: 'CommandNotFound', desc } })}\n`)
    } else if (args.mode === 'halt') {
      socket.write(`${JSON.stringify({ error: { class: 'GenericError', desc: 'no init here' } })}\n`)
    }
  }

  function run(args: Record<string, unknown>): number {
    // Like qemu-ga, each command has its own session.
    const child = spawn(args.path as string, args.arg as string[], { detached: true })
    const pid = child.pid as number
    const [out, err]: [Buffer[], Buffer[]] = [[], []]
    processes.set(pid, { exited: false })
    child.stdout.on('data', (bytes) => out.push(bytes))
    child.stderr.on('data', (bytes) => err.push(bytes))
    child.stdin.on('error', () => {})
    child.stdin.end(Buffer.from((args['input-data'] as string | undefined) ?? '', 'base64'))
    child.once('close', (code, signal) => {
      processes.set(pid, {
        exited: true,
        ...(signal === null ? { exitcode: code } : { signal: constants.signals[signal] }),
        ...(out.length > 0 && { 'out-data': Buffer.concat(out).toString('base64') }),
        ...(err.length > 0 && { 'err-data': Buffer.concat(err).toString('base64') }),
      })
    })
    return pid
  }
  return peer
}
