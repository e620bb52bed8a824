import { diffieHellman, generateKeyPairSync, getCiphers, getHashes } from 'node:crypto'
import type { ConnectConfig } from 'ssh2'
import { keyType } from './keys.js'

type Algorithms = NonNullable<ConnectConfig['algorithms']>

/** Preferred ciphers, with the names of Node's crypto module. */
const CIPHERS: Readonly<Record<string, string>> = {
  'chacha20-poly1305@openssh.com': 'chacha20',
  'aes128-gcm@openssh.com': 'aes-128-gcm',
  'aes128-ctr': 'aes-128-ctr',
}

/** Preferred MACs, with the names of Node's crypto module. */
const MACS: Readonly<Record<string, string>> = {
  'hmac-sha2-256-etm@openssh.com': 'sha256',
  'hmac-sha2-256': 'sha256',
}

const CURVE_25519 = ['curve25519-sha256', 'curve25519-sha256@libssh.org']

/**
 * Prefers algorithms that are fast on an emulated CPU: without AES instructions, ChaCha20 copies
 * 1.5 × as fast as AES-CTR. Other algorithms of the library are offered after these. Algorithms
 * that this runtime lacks are not offered: Bun has no ChaCha20, OpenSSL in FIPS mode no X25519.
 */
export function selectAlgorithms(
  hostKey: Buffer | undefined,
  ciphers: readonly string[] | undefined,
): Algorithms {
  const type = hostKey === undefined ? 'ssh-ed25519' : keyType(hostKey)
  const hostKeyTypes = type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type]
  return {
    kex: hasX25519() ? prefer(CURVE_25519) : omit(CURVE_25519),
    serverHostKey: prefer(hostKeyTypes),
    cipher: ciphers === undefined ? prefer(Object.keys(CIPHERS)) : ([...ciphers] as never),
    hmac: prefer(Object.keys(MACS)),
    compress: ['none'],
  }
}

/**
 * Moves names to the front. The library ignores names to prepend that are not removed first. It
 * rejects an unsupported name, but skips a pattern without a supported name.
 */
function prefer<Name extends string>(names: readonly string[]) {
  const patterns = names.map((name) => new RegExp(`^${name.replaceAll('.', '\\.')}$`))
  return change<Name>({ remove: patterns, prepend: patterns })
}

function omit<Name extends string>(names: readonly string[]) {
  return change<Name>({ remove: names, prepend: [] })
}

/** The types of the library lack patterns. */
function change<Name extends string>(lists: {
  readonly remove: readonly unknown[]
  readonly prepend: readonly unknown[]
}) {
  return { append: [], ...lists } as unknown as { append: Name[]; remove: Name[]; prepend: Name[] }
}

let x25519: boolean | undefined

/** Returns true if this runtime can agree on a key with X25519. Takes milliseconds, once. */
export function hasX25519(): boolean {
  x25519 ??= succeeds(() => diffieHellman(generateKeyPairSync('x25519')))
  return x25519
}

function succeeds(action: () => unknown): boolean {
  try {
    action()
    return true
  } catch {
    return false
  }
}

/** Returns the preferred algorithms that this runtime lacks. */
export function listMissingAlgorithms(): string[] {
  const missing = (names: Readonly<Record<string, string>>, supported: readonly string[]) =>
    Object.keys(names).filter((name) => !supported.includes(names[name] as string))
  return [
    ...(hasX25519() ? [] : CURVE_25519),
    ...missing(CIPHERS, getCiphers()),
    ...missing(MACS, getHashes()),
    ...(succeeds(() => generateKeyPairSync('ed25519')) ? [] : ['ssh-ed25519']),
  ]
}
