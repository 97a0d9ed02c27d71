module krait/examples/normalize

go 1.21
