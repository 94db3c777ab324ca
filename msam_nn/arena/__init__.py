"""A grid of trainers, data sets, folds and seeds as resumable jobs, and one report on all of them."""
