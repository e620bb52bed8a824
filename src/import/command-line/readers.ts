import type { Draft, ParsedOption } from './draft.js'

/** What each flag becomes. A flag without a reader is kept as it is. */
export type Readers = Readonly<Record<string, (draft: Draft, given: ParsedOption) => void>>

/** Has been said by withvm already, or is as it does it anyway. */
export const passOver = () => {}

/** Is left out, which is told. */
export const drop = (reason: string) => (draft: Draft, given: ParsedOption) => {
  draft.translate(given, 'nothing', reason)
}
