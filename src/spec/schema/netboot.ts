import { isIPv4 } from 'node:net'
import { z } from 'zod'
import { parseDuration } from '../../common/duration.js'
import { isRecord } from '../../common/is-record.js'
import { type HttpFault, NETBOOT_TREES, type NetbootFile } from '../netboot.js'
import { flag, isText, port, rule } from './rules.js'

/**
 * Addresses in use in the guest's network: the host, the DNS server, the guest, network and
 * broadcast.
 */
const RESERVED_ADDRESSES = ['10.0.2.0', '10.0.2.2', '10.0.2.3', '10.0.2.15', '10.0.2.255']

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
  port: port(),
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
    return isText(value) && Buffer.byteLength(value) < 128
  }),
  httpBoot: rule<string>('a path below the folder, or an http: URL', (value) => {
    return isText(value) && /^(http:\/\/[\x21-\x7e]+|(?![a-z]+:)[\x21-\x7e]+)$/.test(value)
  }),
  tftpServerName: rule<string>('a name', isText),
  http: z.union([z.boolean({ error: 'true, false, or { address, port, faults }' }), http]).optional(),
  once: flag(),
})

function isFile(file: unknown): boolean {
  if (typeof file === 'string' || typeof file === 'function' || file instanceof Uint8Array) return true
  return isRecord(file) && Object.keys(file).join() === 'path' && isText(file.path)
}

function isInside(path: string): boolean {
  return isText(path) && !path.split('/').includes('..') && !path.endsWith('/')
}
