import { z } from 'zod'
import { DISK_FORMATS } from '../base-image.js'
import { PreparedImage } from '../image-definition.js'
import { isFile, isText, oneOf, rule, texts } from './rules.js'

const hexadecimal = (what: string, digits: number) =>
  rule<string>(`${what}: ${digits} hexadecimal digits`, (value) => {
    return typeof value === 'string' && value.length === digits && /^[0-9a-f]+$/i.test(value)
  })

const isWeb = (value: unknown) => isText(value) && /^https?:/i.test(value)
export const format = oneOf(...DISK_FORMATS)

const secret = rule<string | { file: string }>('a secret that is not empty, or { file }', (value) => {
  return isText(value) || isFile(value)
})

const fileImage = z.strictObject({
  path: z.custom<string>((value) => isText(value) && !isWeb(value), { error: 'the path of an image' }),
  format,
  backingFolders: texts('folders'),
  secret,
})

const urlImage = z
  .strictObject({
    url: z.custom<string>(isPlainWebUrl, {
      error: 'a URL that begins with http: or https:, without a user and a password',
    }),
    sha256: hexadecimal('a SHA-256', 64),
    sha512: hexadecimal('a SHA-512', 128),
    format,
    secret,
  })
  .refine(({ sha256, sha512 }) => (sha256 === undefined) !== (sha512 === undefined), {
    path: ['sha256'],
    error: 'one checksum, `sha256` or `sha512`: what is downloaded has to be what was meant',
  })

/** What would be sent to the server, and stand in messages, has no place for secrets. */
function isPlainWebUrl(value: unknown): boolean {
  if (!isWeb(value) || !URL.canParse(value as string)) return false
  const { username, password } = new URL(value as string)
  return username === '' && password === ''
}

const imagePath = z.custom<string>((value) => isText(value) && !isWeb(value), {
  error: "a recipe's name, a path, { path, format }, or for a URL { url, sha256 }",
})

/** What a disk may be made of. */
export const imageSource = z.union([fileImage, urlImage, imagePath])

/** What the system's disk may be made of. */
export const image = z.union([z.instanceof(PreparedImage), z.literal(false), fileImage, urlImage, imagePath])
