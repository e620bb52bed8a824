import { dirname } from 'node:path'
import type { DhcpExchange } from './dhcp.js'
import { type NetbootRequest, normalizePath } from './netboot-request.js'

/** Problem of a network boot. */
export interface NetbootProblem {
  readonly stage: 'DHCP' | 'TFTP' | 'HTTP' | 'files'
  /** Stage, file and problem. */
  readonly text: string
  readonly hint: string
}

export interface NetbootFacts {
  /** Requests since the guest began to boot. */
  readonly requests: readonly NetbootRequest[]
  readonly dhcp: readonly DhcpExchange[]
  readonly files: readonly string[]
  /** Files that have changed since the guest was started, with a description of the change. */
  readonly changes: ReadonlyMap<string, string>
  readonly failure: string | undefined
  readonly bootfile: string | undefined
  /** True if the network was first in the boot order of this boot. */
  readonly isFirst: boolean
}

/**
 * Number of downloads of one file that counts as a loop. A menu that is reopened loads its files a
 * few times.
 */
const LOOP_DOWNLOADS = 8
/** Maximum number of file names shown in a message. */
const SHOWN_NAMES = 12
const FILES_HINT =
  'Check the files of `netboot`: their names must equal those that the loader requests, including case.'

/** Returns the earliest problem of a boot; undefined if all requests succeeded. */
export function findProblem(facts: NetbootFacts): NetbootProblem | undefined {
  const { requests, failure } = facts
  if (failure !== undefined) return { stage: 'files', text: failure, hint: 'Correct the function.' }
  return (
    findDhcpProblem(facts) ??
    findLoop(requests) ??
    findChange(facts) ??
    findConfigurationProblem(facts) ??
    findFileProblem(facts)
  )
}

/** Detects a boot loader that loads itself, directly or through another. */
export function findLoop(requests: readonly NetbootRequest[]): NetbootProblem | undefined {
  const counts = new Map<string, number>()
  for (const { path, protocol, status } of requests) {
    if (status !== 'complete') continue
    const count = (counts.get(path) ?? 0) + 1
    counts.set(path, count)
    if (count < LOOP_DOWNLOADS) continue
    return {
      stage: stageOf(protocol),
      text: `${stageOf(protocol)}: ${path} was downloaded ${count} times in one boot: a boot loader loads itself in a loop`,
      hint: 'Check the last step of the loader or its script: a new DHCP request returns the same boot file. With iPXE, serve a script as the boot file, not iPXE itself.',
    }
  }
  return undefined
}

function findDhcpProblem({ dhcp, requests, bootfile, isFirst }: NetbootFacts): NetbootProblem | undefined {
  if (requests.length > 0 || !isFirst) return undefined
  const last = dhcp.at(-1)
  if (last === undefined) {
    return {
      stage: 'DHCP',
      text: 'DHCP: the guest did not request an address',
      hint: 'Check that the firmware boots from the network and that the card (`network.model`) has a boot ROM. On Debian, install ipxe-qemu.',
    }
  }
  if (!last.isGranted) {
    const messages = last.messages.join(', ')
    const isOffered = last.address !== undefined
    return {
      stage: 'DHCP',
      text: isOffered
        ? `DHCP: the guest ${last.mac} did not accept the offered address (${messages})`
        : `DHCP: the guest ${last.mac} requested an address and received no reply (${messages})`,
      hint: "Check `qemuArgs`. The DHCP server of QEMU always replies, so an argument probably disconnects the card from QEMU's user-mode network.",
    }
  }
  if (bootfile === undefined) {
    return {
      stage: 'DHCP',
      text: `DHCP: the guest received the address ${last.address}, but no boot file`,
      hint: 'Set `netboot: { bootfile }`.',
    }
  }
  return {
    stage: 'DHCP',
    text: `DHCP: the guest received the address ${last.address} and the boot file ${bootfile}, but requested no file`,
    hint: 'Check that the firmware supports this boot file: only iPXE supports a URL in `bootfile`. For HTTP boot of UEFI firmware, use `httpBoot`.',
  }
}

function findChange({ requests, changes }: NetbootFacts): NetbootProblem | undefined {
  const request = requests.findLast(({ path }) => changes.has(path))
  if (request === undefined) return undefined
  const { path, protocol } = request
  return {
    stage: stageOf(protocol),
    text: `${stageOf(protocol)}: ${path}: the file was changed while the guest booted: ${changes.get(path)}`,
    hint: 'Finish building the file before starting the guest, and do not replace it during the boot.',
  }
}

/**
 * Detects a missing configuration. PXELINUX tries names with the UUID, MAC address and IP address,
 * then `default`.
 */
function findConfigurationProblem({ requests, files }: NetbootFacts): NetbootProblem | undefined {
  const tried = requests.filter(({ path }) => /(^|\/)pxelinux\.cfg\/[^/]+$/.test(path))
  if (tried.length === 0 || tried.some(({ status }) => status !== 'not found')) return undefined
  const path = tried.at(-1)?.path as string
  return {
    stage: 'TFTP',
    text: `TFTP: ${path}: file not found, nor any other of the ${tried.length} names that PXELINUX tries for its configuration; ${describeFolder(files, path)}`,
    hint: 'Put the configuration at pxelinux.cfg/default, next to pxelinux.0.',
  }
}

/** Checks only the last request: loaders request many optional files. */
function findFileProblem({ requests, files }: NetbootFacts): NetbootProblem | undefined {
  const request = requests.at(-1)
  if (request === undefined || request.status === 'complete') return undefined
  const { path, protocol, status, code, bytes } = request
  const stage = stageOf(protocol)
  if (status === 'not found') {
    const isListed = files.includes(normalizePath(path))
    const text = isListed
      ? `${stage}: ${path}: the server did not find the file, although the folder contains it: it may be unreadable`
      : `${stage}: ${path}: file not found; ${describeFolder(files, path)}`
    return { stage, text, hint: FILES_HINT }
  }
  if (status === 'aborted') return undefined
  if (status === 'pending') {
    return {
      stage,
      text: `${stage}: ${path} was still being transferred after ${bytes} bytes`,
      hint:
        bytes === 0 && protocol === 'tftp'
          ? 'Set `network: { internet: true }` if the guest uses IPv6: QEMU replies to TFTP over IPv6 only in an open network.'
          : 'Raise `timeouts: { start: … }`, or use a faster transfer for large files: see docs/netboot.md.',
    }
  }
  const why = path.split('/').includes('..')
    ? 'rejected because the path is outside of the folder'
    : 'rejected by the server'
  return {
    stage,
    text: `${stage}: ${path}: ${protocol === 'http' ? `the server responded with status ${code} and ${bytes} bytes` : why}`,
    hint: protocol === 'http' ? 'Check `http.faults` and the request of the guest.' : FILES_HINT,
  }
}

/** Lists files of the folder: first those next to the requested one, then by depth. */
function describeFolder(files: readonly string[], requested: string): string {
  if (files.length === 0) return 'the folder is empty'
  const folder = dirname(normalizePath(requested))
  const rank = (name: string) => (dirname(name) === folder ? 0 : name.split('/').length)
  const sorted = files.toSorted((a, b) => rank(a) - rank(b))
  const more = sorted.length - SHOWN_NAMES
  return `the folder contains ${sorted.slice(0, SHOWN_NAMES).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

export function stageOf(protocol: NetbootRequest['protocol']): 'TFTP' | 'HTTP' {
  return protocol === 'tftp' ? 'TFTP' : 'HTTP'
}
