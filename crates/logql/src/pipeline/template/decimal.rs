//! Decimal arithmetic for `addf`, `subf`, `mulf` and `divf`, so that 0.1 + 0.2 is 0.3.

/// Digits after the point of a quotient.
const QUOTIENT_SCALE: u32 = 16;

/// `digits * 10^-scale`
#[derive(Clone, Copy)]
struct Decimal {
    digits: i128,
    scale: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Add,
    Sub,
    Mul,
    Div,
}

/// The exact result, or that of floats where digits overflow.
pub fn calculate(op: Op, a: f64, b: f64) -> Result<f64, String> {
    if op == Op::Div && b == 0.0 {
        return Err("decimal division by 0".into());
    }
    let exact = match (parse(a), parse(b)) {
        (Some(a), Some(b)) => exact(op, a, b),
        _ => None,
    };
    Ok(exact.unwrap_or(match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
    }))
}

/// The shortest decimal that reads as `f`.
fn parse(f: f64) -> Option<Decimal> {
    let text = format!("{f:e}");
    let (mantissa, power) = text.split_once('e')?;
    let power: i32 = power.parse().ok()?;
    let decimals = mantissa.split_once('.').map_or(0, |(_, d)| d.len()) as i32;
    let digits: i128 = mantissa.replace('.', "").parse().ok()?;
    let scale = decimals - power;
    match u32::try_from(scale) {
        Ok(scale) => Some(Decimal { digits, scale }),
        Err(_) => Some(Decimal { digits: digits.checked_mul(power_of_ten(scale.unsigned_abs())?)?, scale: 0 }),
    }
}

fn power_of_ten(power: u32) -> Option<i128> {
    10i128.checked_pow(power)
}

fn exact(op: Op, a: Decimal, b: Decimal) -> Option<f64> {
    let scale = a.scale.max(b.scale);
    let widen = |d: Decimal| d.digits.checked_mul(power_of_ten(scale - d.scale)?);
    let result = match op {
        Op::Add => Decimal { digits: widen(a)?.checked_add(widen(b)?)?, scale },
        Op::Sub => Decimal { digits: widen(a)?.checked_sub(widen(b)?)?, scale },
        Op::Mul => Decimal { digits: a.digits.checked_mul(b.digits)?, scale: a.scale + b.scale },
        Op::Div => {
            let numerator = widen(a)?.checked_mul(power_of_ten(QUOTIENT_SCALE)?)?;
            let divisor = widen(b)?;
            let (quotient, rest) = (numerator / divisor, numerator % divisor);
            let up = rest.checked_abs()?.checked_mul(2)? >= divisor.checked_abs()?;
            let away = if (numerator < 0) == (divisor < 0) { 1 } else { -1 };
            Decimal { digits: quotient + if up { away } else { 0 }, scale: QUOTIENT_SCALE }
        }
    };
    format!("{}e-{}", result.digits, result.scale).parse().ok()
}
