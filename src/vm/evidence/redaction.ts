import { Transform } from 'node:stream'
import { toDropbearHostKey } from '../../channel/ssh/keys.js'
import type { Machine } from '../machine/machine.js'

/**
 * Minimum length of a redacted password: a shorter one is in every word list, and redacting it
 * would make a log unreadable.
 */
const MIN_PASSWORD_CHARS = 6
/** Base64 line of a PEM key, without header and footer. */
const KEY_LINE = /^[A-Za-z0-9+/=]{16,}$/gm
const PLACEHOLDER = '(redacted)'

/** Formats bytes like base64(1). */
const formatBase64 = (bytes: Buffer) => bytes.toString('base64').replace(/.{76}/g, '$&\n')

/**
 * Redacts the keys, the passwords and the secrets of the disks of one machine in artifacts and
 * evidence.
 */
export class Redaction {
  readonly #secrets: readonly string[]

  constructor({ identity: { keys }, spec }: Pick<Machine, 'identity' | 'spec'>) {
    const { password, privateKey } = spec.ssh?.login ?? {}
    const texts = [
      keys?.client.privateKey,
      keys?.host.privateKey,
      keys && formatBase64(toDropbearHostKey(keys.host)),
      privateKey?.toString(),
    ]
    // Each line is a secret of its own, so that a key is found however it was wrapped or escaped.
    const keyLines = texts.flatMap((text) => text?.match(KEY_LINE) ?? [])
    const passwords = [
      { user: spec.ssh?.user, text: password },
      { user: spec.login?.user, text: spec.login?.password },
      { user: undefined, text: spec.ssh?.login?.passphrase },
      { user: undefined, text: spec.display?.vnc?.password },
      { user: undefined, text: spec.display?.spice?.password },
    ]
    const loginSecrets = passwords.flatMap(({ user, text = '' }) =>
      text !== user && text.length >= MIN_PASSWORD_CHARS ? [text] : [],
    )
    const further = (spec.disks ?? []).map(({ content }) => ('file' in content ? content.file : undefined))
    const diskSecrets = [spec.image?.disk, ...further].flatMap((disk) => {
      const secret = disk?.encryption?.secret
      return typeof secret === 'string' && secret.length >= MIN_PASSWORD_CHARS ? [secret] : []
    })
    this.#secrets = [...new Set([...keyLines, ...loginSecrets, ...diskSecrets])]
  }

  /** Returns the text without the secrets. */
  apply(text: string): string {
    return this.#secrets.reduce((rest, secret) => rest.replaceAll(secret, PLACEHOLDER), text)
  }

  /** Creates a stream that redacts the secrets in arbitrary bytes, including across chunks. */
  stream(): Transform {
    // latin1 maps each byte to one character and back.
    const secrets = this.#secrets.map((secret) => Buffer.from(secret).toString('latin1'))
    const longest = Math.max(0, ...secrets.map((secret) => secret.length - 1))
    const redact = (text: string) =>
      secrets.reduce((rest, secret) => rest.replaceAll(secret, PLACEHOLDER), text)
    let held = ''
    return new Transform({
      transform(chunk: Buffer, _encoding, done) {
        const text = redact(held + chunk.toString('latin1'))
        // A secret may continue in the next chunk.
        held = longest === 0 ? '' : text.slice(-longest)
        done(null, Buffer.from(text.slice(0, text.length - held.length), 'latin1'))
      },
      flush(done) {
        done(null, Buffer.from(held, 'latin1'))
      },
    })
  }
}
