import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Socket that accepts connections or datagrams. */
export interface ListeningSocket {
  readonly protocol: 'tcp' | 'udp'
  readonly port: number
  readonly isLoopback: boolean
  readonly inode: string
}

/** Lists the sockets that `ss -ltun` shows, from the same source, without a program and within a millisecond. */
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

/** Addresses in /proc are words in the byte order of the host: 127.0.0.1 is `0100007F` on little-endian hosts. */
function isLoopback(address: string): boolean {
  const isIPv4 = address.length === 8 || address.startsWith('0000000000000000FFFF0000')
  if (isIPv4 && /E[0-9A-F]$/.test(address)) return isJoinedOnLoopbackOnly(address)
  return isIPv4 ? address.endsWith('7F') : address === '00000000000000000000000001000000'
}

/** Returns true if a multicast group is joined only on the loopback interface, as a hub of guests does. */
function isJoinedOnLoopbackOnly(group: string): boolean {
  let device = ''
  for (const line of readTable('igmp')) {
    device = /^\d+\s+(\S+)/.exec(line)?.[1] ?? device
    if (device !== 'lo' && new RegExp(`^\\s+${group}\\s`).test(line)) return false
  }
  return true
}

/** Lists the processes that have a socket open. */
export function findOwners(inode: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readdirSync(`/proc/${pid}/fd`).some(
          (fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`,
        )
      } catch {
        return false // the process has ended or belongs to another user
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

/** Returns true if `pid` is a descendant of `ancestor`. */
export function isDescendant(pid: number, ancestor: number): boolean {
  for (let current = pid; current > 1; current = readParent(current)) if (current === ancestor) return true
  return false
}

function readParent(pid: number): number {
  try {
    // The name, in parentheses, may contain any character.
    return Number(
      readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) \S /s, '')
        .split(' ', 1)[0],
    )
  } catch {
    return 0
  }
}
