import {
  findOwners,
  isDescendant,
  type ListeningSocket,
  readCommandLine,
  readListeningSockets,
} from './proc-sockets.js'

const CHECK_INTERVAL_MS = 200

/**
 * Watches for sockets of the test processes and their guests that other hosts could reach. Returns a function that stops
 * the watch and returns the problems.
 */
export function watchListeners(
  allowed: readonly number[] = Object.values(OPEN_PORTS),
): () => readonly string[] {
  const seen = new Map<string, string>()
  const check = () => {
    for (const socket of readListeningSockets()) {
      if (socket.isLoopback || seen.has(socket.inode)) continue
      seen.set(socket.inode, allowed.includes(socket.port) ? '' : (describeProblem(socket) ?? ''))
    }
  }
  check()
  const timer = setInterval(check, CHECK_INTERVAL_MS)
  timer.unref()
  return () => {
    clearInterval(timer)
    check()
    return [...seen.values()].filter((problem) => problem !== '')
  }
}

/** Returns undefined for a socket of a process that is not part of the tests. */
function describeProblem({ protocol, port, inode }: ListeningSocket): string | undefined {
  const owner = findOwners(inode).find((pid) => isDescendant(pid, process.pid))
  if (owner === undefined) return undefined
  const command = readCommandLine(owner)
  const isQemu = /qemu-system|qemu-kvm/.test(command.split(' ', 1)[0] ?? '')
  // A guest with internet access queries name servers over UDP, and so does Node.js.
  if (protocol === 'udp' && (!isQemu || command.includes('restrict=off'))) return undefined
  return `${protocol} port ${port} is open to others than this host: process ${owner}, ${command.slice(0, 300)}`
}

/** Ports on which tests listen on all addresses: to prove that no guest reaches them, and that the watch detects them. */
export const OPEN_PORTS = { unreached: 47_811, detected: 47_812 } as const
