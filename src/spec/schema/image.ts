import { z } from 'zod'
import { DISK_FORMATS } from '../base-image.js'
import { PreparedSource } from '../image-definition.js'
import { isFile, isText, oneOf, rule, texts } from './rules.js'

const hexadecimal = (what: string, digits: number) =>
  rule<string>(`${what}: ${digits} hexadecimal digits`, (value) => {
    return typeof value === 'string' && value.length === digits && /^[0-9a-f]+$/i.test(value)
  })

const isWebUrl = (value: unknown) => isText(value) && /^https?:/i.test(value)
export const format = oneOf(...DISK_FORMATS)

const secret = rule<string | { file: string }>('a non-empty passphrase, or { file }', (value) => {
  return isText(value) || isFile(value)
})

const fileImage = z.strictObject({
  path: z.custom<string>((value) => isText(value) && !isWebUrl(value), { error: 'the path of an image' }),
  format,
  backingFolders: texts('folders'),
  secret,
})

const urlImage = z
  .strictObject({
    url: z.custom<string>(isPlainWebUrl, {
      error: 'an http: or https: URL without user and password',
    }),
    sha256: hexadecimal('a SHA-256', 64),
    sha512: hexadecimal('a SHA-512', 128),
    format,
    secret,
  })
  .refine(({ sha256, sha512 }) => (sha256 === undefined) !== (sha512 === undefined), {
    path: ['sha256'],
    error: 'exactly one checksum, `sha256` or `sha512`',
  })

/** A user and password in a URL are rejected, because URLs are part of messages. */
function isPlainWebUrl(value: unknown): boolean {
  if (!isWebUrl(value) || !URL.canParse(value as string)) return false
  const { username, password } = new URL(value as string)
  return username === '' && password === ''
}

const imagePath = z.custom<string>((value) => isText(value) && !isWebUrl(value), {
  error: 'the name of a recipe, a path, { path, format }, or { url, sha256 }',
})

/** Schema of the image of an additional disk. */
export const imageSource = z.union([fileImage, urlImage, imagePath])

/** Schema of the option `image`. */
export const image = z.union([z.instanceof(PreparedSource), z.literal(false), fileImage, urlImage, imagePath])
