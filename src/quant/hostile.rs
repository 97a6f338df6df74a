//! Sets of vectors that are hard for codes. The tests in `tests/ivf` use them, too.

/// A named set of vectors.
pub struct Set {
    pub name: String,
    pub rows: Vec<Vec<f32>>,
}

/// Makes the vector with a number.
type Draw = Box<dyn FnMut(&mut dyn FnMut() -> f32, usize) -> Vec<f32>>;

/// Hostile sets of `rows` vectors each; `unit` gives random numbers of [0, 1).
pub fn sets(dims: usize, rows: usize, unit: &mut dyn FnMut() -> f32) -> Vec<Set> {
    let mut sets = near_duplicates(dims, rows, unit);
    let mut add = |name: &str, mut draw: Draw| {
        let rows = (0..rows).map(|n| draw(unit, n)).collect();
        sets.push(Set { name: name.into(), rows });
    };
    let spike = move |x: &mut Vec<f32>, at: usize, by: f32| x[at % dims] += by;
    add(
        "one huge coordinate",
        Box::new(move |u, _| {
            let mut x = normals(dims, u);
            spike(&mut x, dims / 3, 3e4);
            x
        }),
    );
    add(
        "a huge coordinate each",
        Box::new(move |u, n| {
            let mut x = normals(dims, u);
            spike(&mut x, n * 7, 1e3);
            x
        }),
    );
    add(
        "one-hot",
        Box::new(move |_, n| {
            let mut x = vec![0.0; dims];
            spike(&mut x, n * 5, 1.0 + (n % 3) as f32);
            x
        }),
    );
    add("few values", Box::new(move |u, _| (0..dims).map(|_| (u() * 3.0).floor() - 1.0).collect()));
    add("two values", Box::new(move |u, _| (0..dims).map(|_| if u() < 0.1 { 1e3 } else { 0.1 }).collect()));
    add("constant", Box::new(move |_, n| vec![0.1 + (n % 37) as f32 * 0.3; dims]));
    add("nearly constant", Box::new(move |_, n| vec![0.1 + (n % 37) as f32 * 1e-6; dims]));
    add("sparse", Box::new(move |u, _| (0..dims).map(|_| if u() < 0.03 { u() } else { 0.0 }).collect()));
    add("integers", Box::new(move |u, _| (0..dims).map(|_| (u() * 10.0).floor()).collect()));
    add(
        "norms",
        Box::new(move |u, _| {
            let norm = 10f32.powf(u() * 12.0 - 6.0);
            normals(dims, u).into_iter().map(|x| x * norm).collect()
        }),
    );
    add(
        "norms of one direction",
        Box::new(move |u, _| {
            let norm = 10f32.powf(u() * 12.0 - 6.0);
            (0..dims).map(|i| norm * (1.0 + (i % 5) as f32)).collect()
        }),
    );
    add("equal", Box::new(move |_, _| (0..dims).map(|i| (i % 11) as f32 * 0.37 - 1.0).collect()));
    add(
        "two far clusters",
        Box::new(move |u, n| {
            let far = if n % 2 == 0 { 1e4 } else { -1e4 };
            normals(dims, u).into_iter().map(|x| far + 0.1 * x).collect()
        }),
    );
    add("far from zero", Box::new(move |u, _| normals(dims, u).into_iter().map(|x| 1e4 + x).collect()));
    add("tiny", Box::new(move |u, _| normals(dims, u).into_iter().map(|x| 1e-22 * x).collect()));
    add("large", Box::new(move |u, _| normals(dims, u).into_iter().map(|x| 1e15 * x).collect()));
    sets
}

/// Clusters whose rows differ by a small share of the distance between them.
fn near_duplicates(dims: usize, rows: usize, unit: &mut dyn FnMut() -> f32) -> Vec<Set> {
    let centres: Vec<Vec<f32>> = (0..3).map(|_| normals(dims, unit)).collect();
    [1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 1e-1]
        .map(|noise| {
            let near = |n: usize| {
                let around = normals(dims, unit);
                centres[n % 3].iter().zip(around).map(|(c, x)| c + noise * x).collect()
            };
            Set { name: format!("noise {noise}"), rows: (0..rows).map(near).collect() }
        })
        .into()
}

/// About normal coordinates.
pub fn normals(dims: usize, unit: &mut dyn FnMut() -> f32) -> Vec<f32> {
    (0..dims).map(|_| (0..12).map(|_| unit()).sum::<f32>() - 6.0).collect()
}

/// Queries for a set: some rows, one nearly a row, its mean, its opposite, another point, and a row of
/// another length.
pub fn queries(rows: &[Vec<f32>], unit: &mut dyn FnMut() -> f32) -> Vec<Vec<f32>> {
    let dims = rows[0].len();
    let mut pick = |n: usize| rows[(unit() * 1e4) as usize * n % rows.len()].clone();
    let (a, b, c) = (pick(1), pick(3), pick(7));
    let mean: Vec<f32> =
        (0..dims).map(|i| rows.iter().step_by(3).map(|x| x[i] / rows.len() as f32 * 3.0).sum()).collect();
    let near = b.iter().map(|x| x * (1.0 + 1e-5 * (unit() - 0.5))).collect();
    let opposite = b.iter().map(|x| -x).collect();
    let longer = c.iter().map(|x| x * 1.7).collect();
    vec![a, b, near, mean, opposite, longer, normals(dims, unit)]
}
