import { Transform } from 'node:stream'
import { toDropbearHostKey } from '../../channel/ssh/keys.js'
import type { Machine } from '../machine/machine.js'

/** A shorter password is in every word list, and blotting it out would make a log unreadable. */
const LEAST_PASSWORD_CHARS = 6
/** A line of a key in PEM that is not one of its head or foot. */
const KEY_LINE = /^[A-Za-z0-9+/=]{16,}$/gm
const BLOT = '(redacted)'

/** The file of a host key as base64(1) prints it. */
const formatBase64 = (bytes: Buffer) => bytes.toString('base64').replace(/.{76}/g, '$&\n')

/** Redacts the keys, the passwords and the secrets of the disks of one machine in artifacts and evidence. */
export class Redaction {
  readonly #secrets: readonly string[]

  constructor({ keys, spec }: Pick<Machine, 'keys' | 'spec'>) {
    const { password, privateKey } = spec.ssh?.login ?? {}
    const texts = [
      keys?.client.privateKey,
      keys?.host.privateKey,
      keys && formatBase64(toDropbearHostKey(keys.host)),
      privateKey?.toString(),
    ]
    // Line by line: however a key was wrapped or escaped, these are in it.
    const ofKeys = texts.flatMap((text) => text?.match(KEY_LINE) ?? [])
    const passwords = [
      { user: spec.ssh?.user, text: password },
      { user: spec.login?.user, text: spec.login?.password },
      { user: undefined, text: spec.ssh?.login?.passphrase },
      { user: undefined, text: spec.display?.vnc?.password },
      { user: undefined, text: spec.display?.spice?.password },
    ]
    const ofLogin = passwords.flatMap(({ user, text = '' }) =>
      text !== user && text.length >= LEAST_PASSWORD_CHARS ? [text] : [],
    )
    const further = (spec.disks ?? []).map(({ content }) => ('file' in content ? content.file : undefined))
    const ofDisks = [spec.image?.disk, ...further].flatMap((disk) => {
      const secret = disk?.encryption?.secret
      return typeof secret === 'string' && secret.length >= LEAST_PASSWORD_CHARS ? [secret] : []
    })
    this.#secrets = [...new Set([...ofKeys, ...ofLogin, ...ofDisks])]
  }

  apply(text: string): string {
    return this.#secrets.reduce((rest, secret) => rest.replaceAll(secret, BLOT), text)
  }

  /** Does so with bytes that come in pieces, whatever they are, and however many. */
  stream(): Transform {
    // As latin1 every byte is a character, and back again.
    const secrets = this.#secrets.map((secret) => Buffer.from(secret).toString('latin1'))
    const longest = Math.max(0, ...secrets.map((secret) => secret.length - 1))
    const blot = (text: string) => secrets.reduce((rest, secret) => rest.replaceAll(secret, BLOT), text)
    let held = ''
    return new Transform({
      transform(chunk: Buffer, _encoding, done) {
        const text = blot(held + chunk.toString('latin1'))
        // A secret may go on in the next piece.
        held = longest === 0 ? '' : text.slice(-longest)
        done(null, Buffer.from(text.slice(0, text.length - held.length), 'latin1'))
      },
      flush(done) {
        done(null, Buffer.from(held, 'latin1'))
      },
    })
  }
}
