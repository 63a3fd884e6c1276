import { z } from 'zod'

export function section<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
): z.ZodReadonly<z.ZodObject<Shape, z.core.$strict>> {
  return z.strictObject(shape).readonly()
}

export function between(min: number, max: number): z.ZodInt {
  return z.int().min(min).max(max)
}

/** A list without doubles. */
export function list<Item extends z.ZodType<string>>(
  item: Item,
  min = 0,
): z.ZodReadonly<z.ZodArray<Item>> {
  return z
    .array(item)
    .min(min)
    .max(1000)
    .refine((values) => new Set(values).size === values.length, 'has an entry twice')
    .readonly()
}

/** The reason that every allowance has. */
export const why = z
  .string()
  .max(500)
  .refine((text) => text.trim().length >= 3, 'must say why, in a sentence')
