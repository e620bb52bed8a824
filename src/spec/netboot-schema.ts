import { isIPv4 } from 'node:net'
import { z } from 'zod'
import { parseDuration } from '../common/duration.js'
import { hasBootIndex } from './boot-index.js'
import { type HttpFault, NETBOOT_TREES, type NetbootFile, type NetbootOptions } from './netboot.js'
import type { NetworkOptions } from './options/network.js'
import type { VMOptions } from './options.js'
import { resolveFirmware } from './resolve/resolve-devices.js'

type Report = (path: string, got: string, expected: string) => void

/**
 * Addresses in use in the guest's network: the host, the DNS server, the guest, network and
 * broadcast.
 */
const RESERVED_ADDRESSES = ['10.0.2.0', '10.0.2.2', '10.0.2.3', '10.0.2.15', '10.0.2.255']

function rule<T>(expected: string, isValid: (value: unknown) => boolean) {
  return z.custom<T>((value) => value === undefined || isValid(value), { error: expected }).optional()
}

const isText = (value: unknown) => typeof value === 'string' && value !== '' && !value.includes('\0')
const isAmount = (value: unknown) => Number.isInteger(value) && (value as number) >= 0

const FAULT_CHECKS: Readonly<Record<keyof HttpFault, (value: unknown) => boolean>> = {
  status: (value) => isAmount(value) && (value as number) >= 400 && (value as number) <= 599,
  delay: (value) => parseDuration(value) !== undefined,
  bytesPerSecond: (value) => isAmount(value) && value !== 0,
  cutAfter: isAmount,
  contentLength: isAmount,
  times: (value) => isAmount(value) && value !== 0,
}

const faults = rule<Readonly<Record<string, HttpFault>>>(
  'faults by path: { status: 400 to 599, delay: a duration, bytesPerSecond, cutAfter, contentLength, times: whole numbers }',
  (value) =>
    isRecord(value) &&
    Object.values(value).every(
      (fault) =>
        isRecord(fault) &&
        Object.entries(fault).every(
          ([name, given]) => FAULT_CHECKS[name as keyof HttpFault]?.(given) === true,
        ),
    ),
)

const http = z.strictObject({
  address: rule<string>(
    "an address of the guest's network that QEMU does not use itself, such as 10.0.2.80",
    (value) => typeof value === 'string' && isIPv4(value) && !RESERVED_ADDRESSES.includes(value),
  ),
  port: rule<number>(
    'a port, 1 to 65535',
    (value) => isAmount(value) && value !== 0 && (value as number) <= 65_535,
  ),
  faults,
})

/** Schema of the option `netboot`. */
export const netbootSchema = z.strictObject({
  root: rule<string>('the path of a folder', isText),
  trees: rule<readonly string[]>(
    `a list of ${NETBOOT_TREES.map((name) => `'${name}'`).join(', ')}`,
    (value) =>
      Array.isArray(value) && value.every((name) => (NETBOOT_TREES as readonly unknown[]).includes(name)),
  ),
  files: rule<Readonly<Record<string, NetbootFile>>>(
    'files by path below the folder: a string, bytes, { path } or a function each',
    (value) =>
      isRecord(value) && Object.entries(value).every(([path, file]) => isInside(path) && isFile(file)),
  ),
  bootfile: rule<string>('a path below the folder, or a URL', (value) => {
    // The field of the DHCP message has 128 bytes (RFC 2131).
    return isText(value) && Buffer.byteLength(value as string) < 128
  }),
  httpBoot: rule<string>('a path below the folder, or an http: URL', (value) => {
    return isText(value) && /^(http:\/\/[\x21-\x7e]+|(?![a-z]+:)[\x21-\x7e]+)$/.test(value as string)
  }),
  tftpServerName: rule<string>('a name', isText),
  http: z.union([z.boolean({ error: 'true, false, or { address, port, faults }' }), http]).optional(),
  once: rule<boolean>('true or false', (value) => typeof value === 'boolean'),
})

/** Reports network boot options that conflict. */
export function findNetbootConflicts(options: VMOptions, report: Report): void {
  const { netboot } = options
  const network = isRecord(options.network) ? (options.network as NetworkOptions) : undefined
  if (netboot === undefined || !isRecord(netboot)) return
  const { bootfile } = netboot
  for (const name of ['tftp', 'bootfile'] as const) {
    const given = network?.[name]
    if (given === undefined) continue
    const own = name === 'tftp' ? 'netboot.root' : 'netboot.bootfile'
    report(`network.${name}`, `"${given}" together with \`netboot\``, `\`${own}\` instead`)
  }
  if (netboot.root === undefined && netboot.trees === undefined && netboot.files === undefined) {
    report('netboot', 'nothing to serve', '`root`, `trees` or `files`')
  }
  for (const name of ['bootfile', 'httpBoot'] as const) {
    const path = netboot[name]
    if (typeof path === 'string' && path.split('/').includes('..'))
      report(`netboot.${name}`, `"${path}", which is outside of the folder`, 'a path below the folder')
  }
  checkHttpBoot(options, netboot, report)
  if (typeof bootfile === 'string' && /^https?:\/\/10\.0\.2\./.test(bootfile) && !netboot.http) {
    report('netboot.bootfile', `"${bootfile}"`, '`netboot.http` to be set too')
  }
}

/**
 * `httpBoot` is an entry of the firmware's boot order, and every boot order given to QEMU takes
 * precedence over that.
 */
function checkHttpBoot(options: VMOptions, netboot: NetbootOptions, report: Report): void {
  const { httpBoot, http, once } = netboot
  if (typeof httpBoot !== 'string') return
  const got = `"${httpBoot}"`
  if (resolveFirmware(options, false).type !== 'uefi')
    report('netboot.httpBoot', `${got} without UEFI firmware`, "`firmware: 'uefi'` to be set too")
  if (options.kernel !== undefined)
    report(
      'netboot.httpBoot',
      'both',
      'only one of `netboot.httpBoot` and `kernel` (QEMU loads a kernel directly)',
    )
  if (options.boot !== undefined || options.bootOnce !== undefined)
    report(
      'netboot.httpBoot',
      'both',
      'only one of `netboot.httpBoot` and `boot` or `bootOnce` (`httpBoot` is booted first)',
    )
  if (http === false && !/^http:/.test(httpBoot))
    report('netboot.httpBoot', `${got} together with \`http: false\``, '`http: true`, or a URL')
  if (!once && hasBootIndex(options))
    report(
      'netboot.httpBoot',
      `${got} together with a \`bootIndex\``,
      '`once: true` to be set too, or no `bootIndex`',
    )
}

function isFile(file: unknown): boolean {
  if (typeof file === 'string' || typeof file === 'function' || file instanceof Uint8Array) return true
  return isRecord(file) && Object.keys(file).join() === 'path' && isText(file.path)
}

function isInside(path: string): boolean {
  return isText(path) && !path.split('/').includes('..') && !path.endsWith('/')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
