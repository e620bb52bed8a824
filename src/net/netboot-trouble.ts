import { dirname } from 'node:path'
import type { DhcpExchange } from './dhcp.js'
import { type NetbootRequest, normalisePath } from './netboot-request.js'

/** Why a boot from the network does not go on. */
export interface NetbootTrouble {
  readonly stage: 'DHCP' | 'TFTP' | 'HTTP' | 'files'
  /** The stage, the file, and what is wrong with it. */
  readonly text: string
  readonly hint: string
}

export interface NetbootFacts {
  /** What was asked for since the guest began to boot. */
  readonly requests: readonly NetbootRequest[]
  readonly dhcp: readonly DhcpExchange[]
  readonly files: readonly string[]
  /** Files that are not what they were when the guest was started, and how they differ. */
  readonly changes: ReadonlyMap<string, string>
  readonly failure: string | undefined
  readonly bootfile: string | undefined
  /** Whether the firmware was to boot from the network this time. */
  readonly isFirst: boolean
}

/** A file that is fetched this often in one boot is fetched for ever: a menu that is left and entered again fetches its own a few times. */
const LOOP_TIMES = 8
/** How many names of a folder are told. */
const SHOWN_NAMES = 12
const FILES_HINT =
  "'netboot' says what is served: a name has to be what the loader asks for, upper and lower case too."

/** What is wrong, the first cause first; undefined where everything that was asked for came. */
export function findTrouble(facts: NetbootFacts): NetbootTrouble | undefined {
  const { requests, failure } = facts
  if (failure !== undefined) return { stage: 'files', text: failure, hint: 'correct the function.' }
  return (
    findDhcpTrouble(facts) ??
    findLoop(requests) ??
    findChange(facts) ??
    findConfigurationTrouble(facts) ??
    findFileTrouble(facts)
  )
}

/** A loader that loads itself, or another that loads it. */
export function findLoop(requests: readonly NetbootRequest[]): NetbootTrouble | undefined {
  const times = new Map<string, number>()
  for (const { path, protocol, status } of requests) {
    if (status !== 'complete') continue
    const count = (times.get(path) ?? 0) + 1
    times.set(path, count)
    if (count < LOOP_TIMES) continue
    return {
      stage: stageOf(protocol),
      text: `${stageOf(protocol)}: ${path} was fetched ${count} times in one boot: a loader loads itself again and again`,
      hint: 'see what the loader or its script does last: the boot file is what it gets again when it asks by DHCP. A script for iPXE has to be told from iPXE itself.',
    }
  }
  return undefined
}

function findDhcpTrouble({ dhcp, requests, bootfile, isFirst }: NetbootFacts): NetbootTrouble | undefined {
  if (requests.length > 0 || !isFirst) return undefined
  const last = dhcp.at(-1)
  if (last === undefined) {
    return {
      stage: 'DHCP',
      text: 'DHCP: the guest did not ask for an address',
      hint: 'does its firmware boot from the network, and does the card (`network.model`) have a boot ROM? Debian has them in the package ipxe-qemu.',
    }
  }
  if (!last.isGranted) {
    const asked = last.messages.join(', ')
    const isOffered = last.address !== undefined
    return {
      stage: 'DHCP',
      text: isOffered
        ? `DHCP: the guest ${last.mac} did not take the address that it was offered (${asked})`
        : `DHCP: the guest ${last.mac} asked for an address, and got no answer (${asked})`,
      hint: 'QEMU answers by itself: does something in `qemuArgs` stand between the card and its network?',
    }
  }
  if (bootfile === undefined) {
    return {
      stage: 'DHCP',
      text: `DHCP: the guest got the address ${last.address}, but no boot file was named to it`,
      hint: 'say netboot: { bootfile }.',
    }
  }
  return {
    stage: 'DHCP',
    text: `DHCP: the guest got the address ${last.address} and the boot file ${bootfile}, but asked for no file`,
    hint: 'does its firmware know that address? A URL in `bootfile` is for iPXE alone; `httpBoot` is what UEFI firmware fetches by itself.',
  }
}

function findChange({ requests, changes }: NetbootFacts): NetbootTrouble | undefined {
  const request = requests.findLast(({ path }) => changes.has(path))
  if (request === undefined) return undefined
  const { path, protocol } = request
  return {
    stage: stageOf(protocol),
    text: `${stageOf(protocol)}: ${path}: the file was changed while the guest booted: ${changes.get(path)}`,
    hint: 'let what builds the file end before the guest is started, or put a new file in its place only afterwards.',
  }
}

/** PXELINUX looks for its configuration by the machine's UUID, its card, its address, and at last as `default`. */
function findConfigurationTrouble({ requests, files }: NetbootFacts): NetbootTrouble | undefined {
  const asked = requests.filter(({ path }) => /(^|\/)pxelinux\.cfg\/[^/]+$/.test(path))
  if (asked.length === 0 || asked.some(({ status }) => status !== 'not found')) return undefined
  const path = asked.at(-1)?.path as string
  return {
    stage: 'TFTP',
    text: `TFTP: ${path}: file not found, nor any other of the ${asked.length} names under which PXELINUX looks for its configuration; ${describeFolder(files, path)}`,
    hint: 'put its configuration at pxelinux.cfg/default, beside pxelinux.0.',
  }
}

/** What came last tells: loaders ask for much that need not be there. */
function findFileTrouble({ requests, files }: NetbootFacts): NetbootTrouble | undefined {
  const request = requests.at(-1)
  if (request === undefined || request.status === 'complete') return undefined
  const { path, protocol, status, code, bytes } = request
  const stage = stageOf(protocol)
  if (status === 'not found') {
    const isListed = files.includes(normalisePath(path))
    const text = isListed
      ? `${stage}: ${path}: the server did not find it, though the folder has it: can it be read?`
      : `${stage}: ${path}: file not found; ${describeFolder(files, path)}`
    return { stage, text, hint: FILES_HINT }
  }
  if (status === 'aborted') return undefined
  if (status === 'pending') {
    return {
      stage,
      text: `${stage}: ${path} was still under way, ${bytes} bytes of it had been sent`,
      hint:
        bytes === 0 && protocol === 'tftp'
          ? 'a question by IPv6 QEMU answers in an open network alone: network: { internet: true }.'
          : 'give the start longer with `timeouts: { start: … }`; docs/netboot.md has the fast ways for large files.',
    }
  }
  const why = path.split('/').includes('..')
    ? 'it is outside the folder, which is refused'
    : 'the server refused it'
  return {
    stage,
    text: `${stage}: ${path}: ${protocol === 'http' ? `answered with status ${code}, and ${bytes} bytes` : why}`,
    hint: protocol === 'http' ? 'see `http.faults`, or what the server was asked for.' : FILES_HINT,
  }
}

/** Those beside what was asked for come first, and then those that lie less deep. */
function describeFolder(files: readonly string[], asked: string): string {
  if (files.length === 0) return 'the folder is empty'
  const folder = dirname(normalisePath(asked))
  const rank = (name: string) => (dirname(name) === folder ? 0 : name.split('/').length)
  const sorted = files.toSorted((a, b) => rank(a) - rank(b))
  const more = sorted.length - SHOWN_NAMES
  return `the folder has ${sorted.slice(0, SHOWN_NAMES).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

export function stageOf(protocol: NetbootRequest['protocol']): 'TFTP' | 'HTTP' {
  return protocol === 'tftp' ? 'TFTP' : 'HTTP'
}
