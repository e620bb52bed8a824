import { quoteWord } from '../../../common/process/shell-quote.js'
import { vmError } from '../../../errors.js'
import type { Check } from './check.js'
import { runProbe, runScript } from './guest-script.js'

/**
 * States of include/net/tcp_states.h: 0A is LISTEN; a UDP socket is in 07, or in 01 when it is
 * connected.
 */
const LISTENING = { tcp: ['0A'], udp: ['07', '01'] } as const

/**
 * Met if a process in the guest listens on a port, on any address.
 * @example checks.portListens(53, { protocol: 'udp' })
 */
export function portListens(
  port: number,
  { protocol = 'tcp' }: { readonly protocol?: 'tcp' | 'udp' | undefined } = {},
): Check {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'The port of a port check is invalid.',
      expected: 'an integer from 1 to 65535',
      got: String(port),
      hint: 'Set the guest port, not the forwarded host port.',
    })
  }
  const files = `/proc/net/${protocol} /proc/net/${protocol}6`
  const states = LISTENING[protocol]
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const probe = {
    condition: `grep -qsE '^ *[0-9]+: [0-9A-F]+:${hex} [0-9A-F]+:[0-9A-F]+ (${states.join('|')}) ' ${files}`,
    report: `cat ${files} 2>/dev/null`,
  }
  return {
    expected: `${protocol} port ${port} to be open`,
    run: async (vm, signal, longPoll) => {
      const { isMet, received } = await runProbe(vm, probe, signal, longPoll)
      const ports = parseListeningPorts(received, protocol)
      return { isMet, received: `open ${protocol} ports: ${ports.join(', ') || '(none)'}` }
    },
  }
}

/**
 * Returns the listening local ports of a table such as `/proc/net/tcp`, sorted and without
 * duplicates.
 */
export function parseListeningPorts(table: string, protocol: 'tcp' | 'udp'): number[] {
  const states: readonly string[] = LISTENING[protocol]
  const ports = new Set<number>()
  for (const line of table.split('\n')) {
    const match = /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) /.exec(line)
    if (states.includes(match?.[2] ?? '')) ports.add(Number.parseInt(match?.[1] as string, 16))
  }
  return [...ports].sort((a, b) => a - b)
}

/** Expected properties of a network interface. */
export interface InterfaceExpectation {
  /** Address of the interface: `'10.0.2.15'`, or with its prefix length, `'10.0.2.15/24'`. */
  readonly address?: string | undefined
}

/**
 * Met if a network interface exists and is up.
 * @example checks.interfaceIsUp('eth0', { address: '10.0.2.15/24' })
 */
export function interfaceIsUp(name: string, { address }: InterfaceExpectation = {}): Check {
  const dir = quoteWord(`/sys/class/net/${name}`)
  const script = [
    `[ -d ${dir} ] || { echo none; ls /sys/class/net; exit 0; }`,
    `cat ${dir}/flags ${dir}/operstate`,
    `ip addr show dev ${quoteWord(name)} 2>/dev/null || ifconfig ${quoteWord(name)}`,
  ].join('\n')
  return {
    expected: `the interface ${name} to be up${address === undefined ? '' : ` with the address ${address}`}`,
    run: async (vm, signal) => {
      const lines = (await runScript(vm, script, signal)).stdout.split('\n')
      const [flags = '', state = ''] = lines
      if (flags === 'none')
        return { isMet: false, received: `only the interfaces ${lines.slice(1).join(', ')}` }
      const addresses = parseAddresses(lines.slice(2).join('\n'))
      // IFF_UP of include/uapi/linux/if.h. Cards without link detection report `unknown`.
      const isUp = (Number(flags) & 1) === 1 && ['up', 'unknown'].includes(state)
      const hasAddress =
        address === undefined || addresses.some((own) => own === address || own.split('/')[0] === address)
      const received = `${isUp ? 'up' : `down (${state})`}, addresses ${addresses.join(', ') || '(none)'}`
      return { isMet: isUp && hasAddress, received }
    },
  }
}

/** Returns the addresses in the output of `ip addr` or of busybox's `ifconfig`. */
export function parseAddresses(text: string): string[] {
  return [...text.matchAll(/inet6? (?:addr: ?)?([0-9a-f.:]+(?:\/\d+)?)/g)].map((match) => match[1] as string)
}
