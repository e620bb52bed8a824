/** Result of a parser for bytes that violate their protocol. They are counted and dropped. */
export const MALFORMED = Symbol('malformed')
