import { quoteWord } from '../../../common/process/shell-quote.js'
import { vmError } from '../../../errors.js'
import type { Check } from './check.js'
import { runProbe, runScript } from './guest-script.js'

/** States of include/net/tcp_states.h: 0A listens; a UDP socket is in 07, or in 01 when it has one peer only. */
const LISTENING = { tcp: ['0A'], udp: ['07', '01'] } as const

/** Something in the guest listens on a port, on whichever address. */
export function portListens(
  port: number,
  { protocol = 'tcp' }: { readonly protocol?: 'tcp' | 'udp' } = {},
): Check {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'A check for a port got a number that is none.',
      expected: 'a whole number from 1 to 65535',
      got: String(port),
      hint: 'give the port of the guest, not the one of the host that leads to it.',
    })
  }
  const files = `/proc/net/${protocol} /proc/net/${protocol}6`
  const states = LISTENING[protocol]
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const probe = {
    look: `grep -qsE '^ *[0-9]+: [0-9A-F]+:${hex} [0-9A-F]+:[0-9A-F]+ (${states.join('|')}) ' ${files}`,
    tell: `cat ${files} 2>/dev/null`,
  }
  return {
    expected: `${protocol} port ${port} to be listened on`,
    run: async (vm, signal, patience) => {
      const { isMet, received } = await runProbe(vm, probe, signal, patience)
      const ports = parseListeningPorts(received, protocol)
      return { isMet, received: `listeners on ${protocol} ports ${ports.join(', ') || '(none)'}` }
    },
  }
}

/** The local ports of a table as `/proc/net/tcp` on which something listens, in their order, each once. */
export function parseListeningPorts(table: string, protocol: 'tcp' | 'udp'): number[] {
  const states: readonly string[] = LISTENING[protocol]
  const ports = new Set<number>()
  for (const line of table.split('\n')) {
    const match = /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) /.exec(line)
    if (states.includes(match?.[2] ?? '')) ports.add(Number.parseInt(match?.[1] as string, 16))
  }
  return [...ports].sort((a, b) => a - b)
}

export interface InterfaceExpectation {
  /** An address of it: `'10.0.2.15'`, or with its prefix, `'10.0.2.15/24'`. */
  readonly address?: string
}

/** A network interface is there and up. */
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
      if (flags === 'none') return { isMet: false, received: `only ${lines.slice(1).join(', ')}` }
      const addresses = parseAddresses(lines.slice(2).join('\n'))
      // IFF_UP of include/uapi/linux/if.h; cards that do not tell of their link say `unknown`.
      const isUp = (Number(flags) & 1) === 1 && ['up', 'unknown'].includes(state)
      const hasAddress =
        address === undefined || addresses.some((own) => own === address || own.split('/')[0] === address)
      const received = `${isUp ? 'up' : `down (${state})`}, addresses ${addresses.join(', ') || '(none)'}`
      return { isMet: isUp && hasAddress, received }
    },
  }
}

/** The addresses in what `ip addr` or busybox' `ifconfig` print. */
export function parseAddresses(text: string): string[] {
  return [...text.matchAll(/inet6? (?:addr: ?)?([0-9a-f.:]+(?:\/\d+)?)/g)].map((match) => match[1] as string)
}
