import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** A socket on which something may come in from outside of the process. */
export interface ListeningSocket {
  readonly protocol: 'tcp' | 'udp'
  readonly port: number
  readonly isLoopback: boolean
  readonly inode: string
}

/** What `ss -ltun` shows, from where it has it: no program has to be there, and looking costs a millisecond. */
export function readListeningSockets(): ListeningSocket[] {
  return (['tcp', 'tcp6', 'udp', 'udp6'] as const).flatMap((table) => {
    const isTcp = table.startsWith('tcp')
    return readTable(table)
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , state]) => state === (isTcp ? '0A' : '07')) // TCP_LISTEN; UDP without a peer
      .map(([, local = '', , , , , , , , inode = '']) => {
        const [address = '', port = ''] = local.split(':')
        const protocol: 'tcp' | 'udp' = isTcp ? 'tcp' : 'udp'
        return { protocol, port: Number.parseInt(port, 16), isLoopback: isLoopback(address), inode }
      })
  })
}

function readTable(name: string): string[] {
  try {
    return readFileSync(`/proc/net/${name}`, 'utf8').trim().split('\n').slice(1)
  } catch {
    return [] // without IPv6
  }
}

/** Addresses stand there in words of the host's byte order: 127.0.0.1 is `0100007F` on all that withvm runs on. */
function isLoopback(address: string): boolean {
  const isIPv4 = address.length === 8 || address.startsWith('0000000000000000FFFF0000')
  if (isIPv4 && /E[0-9A-F]$/.test(address)) return isJoinedOnLoopbackOnly(address)
  return isIPv4 ? address.endsWith('7F') : address === '00000000000000000000000001000000'
}

/** A group of multicast reaches who has joined it by that interface: a hub of guests, by the loopback. */
function isJoinedOnLoopbackOnly(group: string): boolean {
  let device = ''
  for (const line of readTable('igmp')) {
    device = /^\d+\s+(\S+)/.exec(line)?.[1] ?? device
    if (device !== 'lo' && new RegExp(`^\\s+${group}\\s`).test(line)) return false
  }
  return true
}

/** The processes that have a socket open. */
export function findOwners(inode: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readdirSync(`/proc/${pid}/fd`).some(
          (fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`,
        )
      } catch {
        return false // it has ended, or is another user's
      }
    })
    .map(Number)
}

export function readCommandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return ''
  }
}

/** Whether `pid` was started by `ancestor`, or by one that was. */
export function isDescendant(pid: number, ancestor: number): boolean {
  for (let current = pid; current > 1; current = readParent(current)) if (current === ancestor) return true
  return false
}

function readParent(pid: number): number {
  try {
    // The name, in parentheses, may have any character.
    return Number(
      readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) \S /s, '')
        .split(' ', 1)[0],
    )
  } catch {
    return 0
  }
}
