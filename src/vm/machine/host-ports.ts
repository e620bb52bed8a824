import { createHash } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import type { ProcessLock } from '../../common/locks/folder-lock.js'
import { tryProcessLock } from '../../common/locks/process-lock.js'
import { type VMError, vmError } from '../../errors.js'
import type { PortForward } from '../../spec/machine-spec.js'

const OMIT_HOST = 'Omit `host` (or `ssh.hostPort`) to get a free port, returned by `vm.hostPort()`'

/**
 * Host ports that are reserved for one guest: for each forward the requested port, or a free one.
 *
 * The locks exclude other guests. Another program may still take a free port before QEMU binds it,
 * which only QEMU can detect.
 */
export class HostPorts {
  readonly #forwards: readonly PortForward[]
  readonly #locks: ProcessLock[] = []
  #numbers: readonly number[] = []

  private constructor(forwards: readonly PortForward[]) {
    this.#forwards = forwards
  }

  /** @throws {InfrastructureError} PORT_UNAVAILABLE when another guest uses a requested port. */
  static async reserve(forwards: readonly PortForward[]): Promise<HostPorts> {
    const ports = new HostPorts(forwards)
    await ports.#reserve()
    return ports
  }

  /** Ports in the order of the forwards. */
  get numbers(): readonly number[] {
    return this.#numbers
  }

  /** If true, at least one port is not requested by the options, so another one can replace it. */
  get isReplaceable(): boolean {
    return this.#forwards.some(({ host }) => host === undefined)
  }

  /**
   * Releases all ports and reserves others where the options request none.
   * @throws {InfrastructureError} PORT_UNAVAILABLE
   */
  async replace(): Promise<void> {
    await this.release()
    await this.#reserve()
  }

  /** Builds the error of a QEMU that could not listen because another program uses a port. */
  inUse(stderr: string, cause: unknown): VMError {
    const addresses = this.#forwards.map(({ protocol, bind }, index) => {
      return `${protocol} ${bind}:${this.#numbers[index]}`
    })
    const isRequested = this.#forwards.some(({ host }) => host !== undefined)
    return vmError('PORT_UNAVAILABLE', {
      summary: `QEMU could not listen on ${addresses.length === 1 ? '' : 'one of '}${addresses.join(', ')}: another program uses the host port.`,
      evidence: [{ label: "QEMU's stderr", text: stderr }],
      hint: isRequested
        ? `${OMIT_HOST}, or stop the program that listens (find it with \`ss -tulpn\`).`
        : 'Find the program that takes free ports with `ss -tulpn`, and run the test again.',
      cause,
    })
  }

  async release(): Promise<void> {
    await Promise.all(this.#locks.splice(0).map((lock) => lock.release()))
  }

  async #reserve(): Promise<void> {
    const numbers: number[] = []
    try {
      for (const forward of this.#forwards) {
        const [port, lock] =
          forward.host === undefined ? await reserveFree(forward) : await reserveRequested(forward)
        numbers.push(port)
        this.#locks.push(lock)
      }
      this.#numbers = numbers
    } catch (error) {
      await this.release()
      throw error
    }
  }
}

async function reserveFree(forward: PortForward): Promise<[number, ProcessLock]> {
  const { default: getPort } = await import('get-port')
  for (;;) {
    const port = await getPort({ host: forward.bind }).catch((cause: Error) => {
      throw noPortError(forward, cause)
    })
    const lock = await tryProcessLock(lockName(forward, port))
    if (lock !== undefined) return [port, lock]
  }
}

async function reserveRequested(forward: PortForward): Promise<[number, ProcessLock]> {
  const port = forward.host as number
  const lock = await tryProcessLock(lockName(forward, port))
  if (lock !== undefined) return [port, lock]
  throw vmError('PORT_UNAVAILABLE', {
    summary: `Host port ${port} is taken: another guest of withvm already forwards it.`,
    expected: `${forward.protocol} port ${port} on ${forward.bind} for the guest's port ${forward.guest}`,
    hint: `${OMIT_HOST}, or dispose of the other guest first.`,
  })
}

function noPortError(forward: PortForward, cause: Error) {
  return vmError('PORT_UNAVAILABLE', {
    summary: `No free host port was found on ${forward.bind} for the guest's ${forward.protocol} port ${forward.guest}.`,
    expected: 'an address of this host',
    got: cause.message,
    hint: 'Omit `bind` to listen on 127.0.0.1, or set it to an address listed by `ip address`.',
    cause,
  })
}

function lockName(forward: PortForward, port: number): string {
  return `port-${forward.protocol}-${port}-${networkScope()}`
}

/**
 * Returns 8 hexadecimal digits that identify the network namespace: containers that share the
 * folder of locks have separate ports.
 */
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
