import {
  findOwners,
  isDescendant,
  type ListeningSocket,
  readCommandLine,
  readListeningSockets,
} from './proc-sockets.js'

const LOOK_MS = 200

/**
 * Looks, while guests are tested, for sockets on which others than this host could reach something of ours: of the tests'
 * processes and their guests. Gives a function that stops it and tells what it has seen.
 */
export function watchListeners(
  allowed: readonly number[] = Object.values(OPEN_PORTS),
): () => readonly string[] {
  const seen = new Map<string, string>()
  const look = () => {
    for (const socket of readListeningSockets()) {
      if (socket.isLoopback || seen.has(socket.inode)) continue
      seen.set(socket.inode, allowed.includes(socket.port) ? '' : (describeProblem(socket) ?? ''))
    }
  }
  look()
  const timer = setInterval(look, LOOK_MS)
  timer.unref()
  return () => {
    clearInterval(timer)
    look()
    return [...seen.values()].filter((problem) => problem !== '')
  }
}

/** Undefined where the socket is nobody's of ours. */
function describeProblem({ protocol, port, inode }: ListeningSocket): string | undefined {
  const owner = findOwners(inode).find((pid) => isDescendant(pid, process.pid))
  if (owner === undefined) return undefined
  const command = readCommandLine(owner)
  const isQemu = /qemu-system|qemu-kvm/.test(command.split(' ', 1)[0] ?? '')
  // A guest that was given the internet asks name servers by UDP, and so does Node.
  if (protocol === 'udp' && (!isQemu || command.includes('restrict=off'))) return undefined
  return `${protocol} port ${port} is open to others than this host: process ${owner}, ${command.slice(0, 300)}`
}

/** On which tests listen for everybody: to show that no guest gets to it, and that it is seen. */
export const OPEN_PORTS = { unreached: 47_811, seen: 47_812 } as const
