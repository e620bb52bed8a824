import { createHash } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import type { ProcessLock } from '../../common/locks/folder-lock.js'
import { tryProcessLock } from '../../common/locks/process-lock.js'
import { vmError } from '../../errors.js'
import type { PortForward } from '../../spec/machine-spec.js'

/** Host ports that no other guest of this host is given while they are held. */
export interface PortReservation {
  readonly hostPorts: readonly number[]
  release(): Promise<void>
}

/**
 * Reserves a host port for each forward: the one that was asked for, or a free one.
 *
 * A port that is free now may be taken by another program before QEMU has it, which only QEMU can tell; the
 * locks keep guests from being that other program.
 *
 * @throws {InfrastructureError} PORT_UNAVAILABLE when another guest has a port that was asked for.
 */
export async function reservePorts(forwards: readonly PortForward[]): Promise<PortReservation> {
  const locks: ProcessLock[] = []
  const hostPorts: number[] = []
  const release = async () => {
    await Promise.all(locks.splice(0).map((lock) => lock.release()))
  }
  try {
    for (const forward of forwards) {
      const [port, lock] =
        forward.host === undefined ? await reserveAny(forward) : await reserveGiven(forward)
      hostPorts.push(port)
      locks.push(lock)
    }
    return { hostPorts, release }
  } catch (error) {
    await release()
    throw error
  }
}

async function reserveAny(forward: PortForward): Promise<[number, ProcessLock]> {
  const { default: getPort } = await import('get-port')
  for (;;) {
    const port = await getPort({ host: forward.bind }).catch((cause: Error) => {
      throw noPort(forward, cause)
    })
    const lock = await tryProcessLock(lockName(forward, port))
    if (lock !== undefined) return [port, lock]
  }
}

async function reserveGiven(forward: PortForward): Promise<[number, ProcessLock]> {
  const port = forward.host as number
  const lock = await tryProcessLock(lockName(forward, port))
  if (lock !== undefined) return [port, lock]
  throw vmError('PORT_UNAVAILABLE', {
    summary: `Port ${port} of this host is taken: another guest of withvm forwards it to a port of its own.`,
    expected: `${forward.protocol} port ${port} on ${forward.bind} for the guest's port ${forward.guest}`,
    hint: 'leave out `host` to get a free port (`vm.hostPort()` tells which), or dispose of the other guest first.',
  })
}

function noPort(forward: PortForward, cause: Error) {
  return vmError('PORT_UNAVAILABLE', {
    summary: `No free port of this host could be had on ${forward.bind} for the guest's ${forward.protocol} port ${forward.guest}.`,
    expected: 'an address of this host',
    got: cause.message,
    hint: 'leave out `bind` to listen on 127.0.0.1, or name an address that `ip address` shows.',
    cause,
  })
}

function lockName(forward: PortForward, port: number): string {
  return `port-${forward.protocol}-${port}-${networkScope()}`
}

/** Returns 8 hexadecimal digits for the network namespace: containers that share the folder of locks have ports of their own. */
function networkScope(): string {
  return createHash('sha256').update(readNetworkNamespace()).digest('hex').slice(0, 8)
}

function readNetworkNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/net')
  } catch {
    return '' // a system without namespaces
  }
}
